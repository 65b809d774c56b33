"""Arrays and pickles of other repositories, opened without believing what they say of themselves."""
