"""How files of one kind are written, one file per kind; `readers/recording.py` says what each returns."""
