import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dsa_ray.skills import names
from dsa_ray.skills.names import MAX_ID, MAX_NAME, Names, match_key, normalise, tidy


@pytest.mark.parametrize(
    ("name", "skill"),
    [
        ("Chain rule", "chain-rule"),
        ("  the   CHAIN-rule!! ", "the-chain-rule"),
        ("Limits", "limits"),
        ("1. Algebra", "algebra"),
        ("2) L'Hôpital's  Rule!", "lhopitals-rule"),
        ("- **Trigonometry**", "trigonometry"),
        ("(3) sin(x) & cos(x)", "sin-x-and-cos-x"),
        ("Derivative(s)", "derivatives"),
        ("C++", "c-plus-plus"),
        ("C#", "c-sharp"),
        ("x²", "x2"),
        ("Ｆｕｌｌ width", "full-width"),
        ("snake_case", "snake-case"),
        ("微积分", "微积分"),
        ("कलन", "कलन"),
        ("Straße", "strasse"),
        ("", ""),
        ("?!…", ""),
        ("🎉🎉", ""),
        ("\u200b\u0000\ud800", ""),
        ("\u0301", ""),
    ],
)
def test_a_name_gives_its_id(name: str, skill: str) -> None:
    assert normalise(name) == skill


@settings(deadline=None)
@given(name=st.text())
@example(name="ǰ")
@example(name="İ" * 100)
@example(name="a" * 200)
@example(name="ß\u0345" * 60)
def test_an_id_is_its_own_id_and_bounded_and_safe(name: str) -> None:
    skill = normalise(name)

    assert normalise(skill) == skill
    assert len(skill) <= MAX_ID
    assert not set(skill) & set(" /\\.\n\t'\"<>")
    assert not skill.startswith("-")
    assert not skill.endswith("-")


@settings(deadline=None)
@given(name=st.text())
def test_key_and_display_name_are_empty_only_together_with_the_id(name: str) -> None:
    assert bool(match_key(name)) == bool(normalise(name))
    assert tidy(name) or not normalise(name)


@settings(deadline=None)
@given(name=st.text(max_size=400))
def test_a_display_name_is_one_printable_line(name: str) -> None:
    shown = tidy(name)

    assert len(shown) <= MAX_NAME
    assert len(shown.splitlines()) <= 1
    assert shown == shown.strip()


def test_long_names_that_begin_alike_have_different_ids() -> None:
    names = ["how to " * 30 + end for end in ("add", "subtract")]

    assert len({normalise(name) for name in names}) == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Limits", "limit"),
        ("Derivative(s)", "Derivatives"),
        ("The Chain Rule", "chain-rules"),
        ("A derivative", "derivatives"),
        ("Rules of Exponents", "rules: exponent"),
        ("Matrices", "matrix"),
        ("Identities", "identity"),
        ("Approaches", "approach"),
        ("Factorisation", "factorization"),
        ("Modelling", "modeling"),
        ("Sines & cosines", "sine and cosine"),
    ],
)
def test_spellings_of_one_skill_share_a_key(one: str, other: str) -> None:
    assert match_key(one) == match_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("C", "C++"),
        ("Vitamin A", "Vitamin"),
        ("Calculus 1", "Calculus 2"),
        ("Bus", "Bu"),
        ("Basis", "Basi"),
        ("Add", "Addition"),
        ("Gas laws", "Ga law"),
    ],
)
def test_different_skills_have_different_keys(one: str, other: str) -> None:
    assert match_key(one) != match_key(other)


def test_words_that_end_in_s_without_being_plurals_stay() -> None:
    assert [match_key(word) for word in ("Calculus", "Analysis", "Class", "Series")] == [
        "calculus",
        "analysis",
        "class",
        "series",
    ]


def test_display_names_keep_the_words_and_lose_the_list() -> None:
    assert tidy(" 3. **Chain\n rule** ") == "Chain rule"
    assert tidy("-1 as an exponent") == "-1 as an exponent"
    assert tidy("x" * 500) == "x" * (MAX_NAME - 1) + "…"


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9 -]{0,90}", fullmatch=True))
def test_the_quick_way_for_plain_names_gives_the_same_id(name: str) -> None:
    assert names._plain_slug(name) == names._slug(name)


@pytest.mark.parametrize(
    ("words", "skill"),
    [
        ("s1", "s1"),
        ("Adding fractions", "s1"),
        ("adding-fractions", "s1"),
        ("The adding of a fraction", None),
        ("Fraction, adding", None),
        ("ADDING FRACTION", "s1"),
        ("limit", "limits"),
        ("the Limits", "limits"),
        ("Chain rules", "chain-rule"),
        ("composite derivative", "chain-rule"),
        ("?!", None),
        ("", None),
    ],
)
def test_words_mean_a_skill_by_its_id_or_its_name_in_any_spelling(words: str, skill: str | None) -> None:
    known = Names([("s1", "Adding fractions"), ("limits", "Limits"), ("chain-rule", "Composite derivatives")])
    assert known.find(words) == skill
    assert known.ids([words]) == {skill or normalise(words)}


def test_one_name_may_mean_several_skills_and_what_means_none_is_told_with_the_nearest() -> None:
    known = Names([("physics-statistics", "Statistics"), ("biology-statistics", "Statistics")])
    assert known.all("statistic") == ("physics-statistics", "biology-statistics")
    assert known.find("statistic") == "physics-statistics"
    known.add("limits", "Limits")
    assert known.strange(["statistics", "Limmits", "zzz"]) == ["'Limmits' (did you mean 'Limits'?)", "'zzz'"]
