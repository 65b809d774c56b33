import pickle

from marrow.errors import ParseError


def test_pieces_of_files_do_not_reach_a_terminal_as_they_are():
    error = ParseError("a.txt", 3, "expected 1, got 'x\n\x1b[31m\u2028é'")
    assert str(error) == r"a.txt:3: expected 1, got 'x\n\x1b[31m\u2028é'"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_message_has_the_beginning_and_the_end_of_what_is_very_long():
    error = ParseError("a.txt", 0, "expected 1, got " + 9000 * "9" + ". Do this")
    assert len(str(error)) < 1100
    assert str(error).startswith("a.txt: expected 1, got 99")
    assert str(error).endswith("99. Do this")
