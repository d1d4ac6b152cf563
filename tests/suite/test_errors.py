from suite.errors import _LISTED, did_you_mean


def test_a_near_name_is_proposed() -> None:
    assert did_you_mean("kspvd", ["sgd", "kpsvd"]) == "; did you mean 'kpsvd'?"


def test_case_is_ignored() -> None:
    assert did_you_mean("KPSVD", ["sgd", "kpsvd"]) == "; did you mean 'kpsvd'?"


def test_without_a_near_name_the_choices_are_listed() -> None:
    assert did_you_mean("zzz", ["sgd", "adam"]) == "; choose from sgd, adam"


def test_a_long_list_is_cut() -> None:
    names = [f"n{number:02}" for number in range(_LISTED + 3)]
    assert did_you_mean("zzz", names) == f"; choose from {', '.join(names[:_LISTED])} and 3 more"


def test_no_choices_no_hint() -> None:
    assert did_you_mean("zzz", []) == ""
