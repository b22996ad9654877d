import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.images.dockerfile import Base, Bases, bases_of, renamed
from dxd.images.expansion import BadWord, expand

PLATFORM = "linux/amd64"


def _read(text: str, target: str | None = None, **args: str) -> Bases:
    return bases_of(text, args=args, target=target, platform=PLATFORM)


def _keys(text: str, target: str | None = None, **args: str) -> str:
    return " ".join(base.key for base in _read(text, target, **args).needed)


# A Dockerfile, and the images of which its last stage is made.
NEEDED = {
    # Instructions
    "FROM alpine": "alpine",
    "from alpine": "alpine",
    "\n\n  FROM\talpine:3.20 \n": "alpine:3.20",
    "FROM alpine\r\nRUN true\r\n": "alpine",
    "\ufeffFROM alpine": "alpine",
    "# FROM debian\nFROM alpine": "alpine",
    "  # FROM debian\nFROM alpine": "alpine",
    "FROM docker.io/library/alpine:3@sha256:" + "a" * 64: "docker.io/library/alpine:3@sha256:" + "a" * 64,
    "FROM localhost:5000/a/b_c/d--e:T.1": "localhost:5000/a/b_c/d--e:T.1",
    "FROM [::1]:5000/a": "[::1]:5000/a",
    "FROM scratch": "",
    'FROM "alpine"': "alpine",
    # Lines that go on
    "FROM \\\n  alpine": "alpine",
    "FROM \\   \n  alpine": "alpine",
    "FROM \\\r\n  alpine\r\n": "alpine",
    "FROM \\\n# comment \\\n  # another\n\n  alpine": "alpine",
    "FROM alpine\nRUN echo \\\nFROM debian": "alpine",
    "FROM alpine\nRUN echo \\\\\nFROM debian": "debian",
    "# comment \\\nFROM alpine": "alpine",
    "FROM alpine \\": "alpine",
    "\\\nFROM alpine": "alpine",
    # Directives
    "# escape=`\nFROM `\n alpine": "alpine",
    "# escape=`\nFROM alpine\nRUN dir C:\\\nFROM debian": "debian",
    "#Syntax = x\n# ESCAPE = `\nFROM `\nalpine": "alpine",
    "# comment\n# escape=`\nFROM alpine\nRUN a \\\nFROM debian": "alpine",
    "\n# escape=`\nFROM alpine\nRUN a \\\nFROM debian": "alpine",
    # Variables
    "ARG V=3\nFROM alpine:$V": "alpine:3",
    "ARG V=3\nFROM alpine:${V}": "alpine:3",
    "ARG V='3' W=\"4 5\"\nFROM alpine:${V}": "alpine:3",
    "ARG V=3 W=1\nFROM alpine:$V.$W": "alpine:3.1",
    "ARG V=3\nARG W=$V.1\nFROM alpine:$W": "alpine:3.1",
    "ARG V\nFROM alpine:${V:-3}": "alpine:3",
    "ARG V=\nFROM alpine:${V:-3}": "alpine:3",
    "ARG V=\nFROM alpine${V-3}": "alpine",
    "ARG V=1\nFROM alpine${V:+:edge}": "alpine:edge",
    "FROM alpine${V:+:edge}": "alpine",
    "ARG V=\nFROM alpine${V+:edge}": "alpine:edge",
    "ARG V=v3.2\nFROM alpine:${V#v}": "alpine:3.2",
    "ARG V=3.2.1\nFROM alpine:${V%.*}": "alpine:3.2",
    "ARG V=3.2.1\nFROM alpine:${V%%.*}": "alpine:3",
    "ARG V=3.2.1\nFROM alpine:${V//./-}": "alpine:3-2-1",
    "ARG V=3.2.1\nFROM alpine:${V/./-}": "alpine:3-2.1",
    "ARG V=3\nFROM ${W:-alpine:${V}}": "alpine:3",
    "ARG B=alpine\nFROM $B AS base\nFROM base": "alpine",
    "FROM debian\nARG V=3\nFROM alpine:${V:-edge}": "alpine:edge",
    # Stages
    "FROM golang AS build\nFROM alpine\nCOPY --from=build /a /a": "golang alpine",
    "FROM golang AS build\nFROM alpine": "alpine",
    "FROM golang as Build\nFROM alpine\nCOPY --from=BUILD /a /a": "golang alpine",
    "FROM golang\nFROM alpine\nCOPY --from=0 /a /a": "golang alpine",
    "FROM golang AS build\nFROM build\nRUN x": "golang",
    "FROM golang AS build\nFROM BUILD": "golang",
    "FROM alpine AS alpine\nRUN x": "alpine",
    "FROM a AS x\nFROM b AS x\nFROM x": "b",
    "FROM a AS one\nFROM one AS two\nFROM b\nCOPY --link --from=two --chown=1 x y": "a b",
    "FROM a AS x\nCOPY --from=y . .\nFROM b AS y\nCOPY --from=x . .": "a b",
    "FROM a AS x\nONBUILD COPY --from=busybox a b\nFROM x": "a busybox",
    "FROM a AS x\nONBUILD COPY --from=busybox a b": "a",
    # Images that are copied or mounted from
    "FROM alpine\nCOPY --from=busybox:1 /a /a": "alpine busybox:1",
    "FROM alpine\nCOPY --from=busybox:1 a b\nCOPY --from=busybox:1 c d": "alpine busybox:1",
    'FROM alpine\nCOPY --from="busybox" ["a", "b"]': "alpine busybox",
    "FROM alpine\nCOPY a --from=busybox b": "alpine",
    "FROM alpine\nCOPY --from=scratch a b": "alpine",
    "FROM alpine\nADD --from=busybox a b": "alpine",
    "FROM alpine\nRUN --mount=from=busybox,target=/b x": "alpine busybox",
    "FROM alpine\nRUN --network=none --mount=type=bind,target=/b,FROM=busybox x": "alpine busybox",
    "FROM alpine\nRUN --mount=type=cache,target=/c --mount=from=busybox,target=/b \\\n x": "alpine busybox",
    "FROM alpine\nRUN --mount=target=/b \\\n  --mount=from=busybox,target=/b x": "alpine busybox",
    "FROM go AS b\nFROM alpine\nRUN --mount=from=b,target=/b x": "go alpine",
    "FROM alpine\nRUN echo --mount=from=busybox": "alpine",
    # Platforms
    "FROM --platform=linux/arm64 alpine": "alpine for linux/arm64",
    "FROM --platform=linux/amd64 alpine": "alpine",
    "FROM --platform=$BUILDPLATFORM alpine": "alpine",
    "FROM --platform=linux/${TARGETARCH} alpine": "alpine",
    "FROM alpine AS a\nFROM --platform=linux/386 alpine\nCOPY --from=a b c": "alpine alpine for linux/386",
    "FROM alpine-$TARGETOS-$TARGETARCH$TARGETVARIANT": "alpine-linux-amd64",
    "FROM base-$TARGETSTAGE AS Last": "base-last",
    # Heredocs
    "FROM alpine\nRUN <<EOF\nFROM debian\nEOF": "alpine",
    "FROM alpine\nRUN <<EOF\nFROM debian\n EOF\nEOF\nFROM busybox": "busybox",
    "FROM alpine\r\nRUN <<EOF\r\nFROM debian\r\nEOF\r\nFROM busybox": "busybox",
    "FROM alpine\nRUN <<-EOF\nFROM debian\n\tEOF\nFROM busybox": "busybox",
    "FROM alpine\nRUN cat <<'E F' > /a\nFROM debian\nE F\n": "alpine",
    'FROM alpine\nRUN cat << "EOF"\nFROM debian\nEOF\n': "alpine",
    "FROM alpine\nRUN <<$EOF\nFROM debian\n$EOF\n": "alpine",
    "FROM alpine\nCOPY <<a <<b /c/\nFROM x\na\nFROM y\nb\nFROM busybox": "busybox",
    "FROM alpine\nRUN 3<<EOF cat\n\\\nEOF\nFROM busybox": "busybox",
    "FROM alpine\nONBUILD RUN <<EOF\nFROM debian\nEOF": "alpine",
    "FROM alpine\nRUN echo \\\n <<EOF\nFROM debian\nEOF": "alpine",
    "FROM alpine\nRUN --mount=from=busybox,target=/b <<EOF\nCOPY --from=x a b\nEOF": "alpine busybox",
    # What only looks like one
    "FROM alpine\nRUN cat <<<EOF\nFROM debian\nEOF": "debian",
    "FROM alpine\nRUN echo '<<EOF'\nFROM debian\nEOF": "debian",
    'FROM alpine\nRUN ["cat", "<<EOF"]\nFROM debian\nEOF': "debian",
    "FROM alpine\nENV A=<<EOF\nFROM debian\nEOF": "debian",
    "FROM alpine\nRUN echo $((1 << 2))\nFROM debian": "debian",
    "FROM alpine\nRUN echo it's <<EOF\nFROM debian\nEOF": "debian",
}


@pytest.mark.parametrize(("text", "keys"), NEEDED.items())
def test_images_of_the_last_stage(text: str, keys: str) -> None:
    reading = _read(text)
    assert " ".join(base.key for base in reading.needed) == keys
    # A heredoc's end that is read as an instruction is none of ours.
    assert reading.troubles == ()


def test_build_args_go_before_defaults() -> None:
    assert _keys("ARG V=3\nFROM alpine:$V", V="edge") == "alpine:edge"
    assert _keys("ARG V\nFROM alpine:$V", V="edge") == "alpine:edge"
    assert _keys("ARG V=3\nARG W=$V\nFROM alpine:$W", V="edge") == "alpine:edge"
    assert _keys("ARG V=3\nFROM alpine:$V", V="$W") == ""
    assert _keys("FROM alpine${V}", V=":edge") == "alpine", "it was not declared"
    assert _keys("FROM a-$TARGETARCH", TARGETARCH="s390x") == "a-s390x"


def test_only_stages_that_the_target_needs_count() -> None:
    text = "FROM a AS one\nFROM b AS two\nFROM one AS three\nCOPY --from=c x y\nFROM d"
    assert _keys(text, "one") == "a"
    assert _keys(text, "THREE") == "a c"
    assert _keys(text) == "d"
    assert _read(text, "one").unneeded == ()
    assert _read(text, "three").unneeded == (Base("b"),)
    assert _read(text).unneeded == (Base("a"), Base("b"), Base("c"))


def test_the_frontend_is_named() -> None:
    assert _read("FROM a").syntax is None
    assert _read("# syntax=docker/dockerfile:1\nFROM a").syntax == "docker/dockerfile:1"
    assert _read("#syntax = docker/dockerfile:1  x=y \r\nFROM a").syntax == "docker/dockerfile:1"
    assert _read("#!/usr/bin/x\n# check=skip=all\n# syntax=docker/dockerfile:1\nFROM a").syntax == "docker/dockerfile:1"
    assert _read("# hello\n# syntax=docker/dockerfile:1\nFROM a").syntax is None
    assert _read("FROM a", BUILDKIT_SYNTAX="mine").syntax == "mine"


TROUBLES = {
    "": (0, "no FROM"),
    "RUN x\nFROM a": (1, "before the first"),
    "FROM": (1, "FROM takes"),
    "FROM a b": (1, "FROM takes"),
    "FROM a AS": (1, "FROM takes"),
    "FROM a AS 1st": (1, "1st cannot be"),
    "\nFROM $X": (2, "is empty"),
    "FROM a:$X": (1, "a: cannot be"),
    "FROM Upper": (1, "Upper cannot be"),
    f"FROM {'a' * 9999}": (1, "cannot be"),
    "FROM ${X": (1, "} is missing"),
    "FROM ${X:-": (1, "} is missing"),
    "FROM ${}": (1, "no variable is named"),
    "FROM ${X!y}": (1, "not known"),
    "FROM ${X:?no X}": (1, "FROM takes"),
    "FROM ${X:?none}": (1, "X is not set: none"),
    "FROM 'a": (1, "a quote is open"),
    'ARG V="a\nFROM b': (1, "a quote is open"),
    "FROM --platform=$X a": (1, "platform .* is empty"),
    "FROM a\nCOPY --from=7 x y": (2, "no stage 7"),
    "FROM a\nCOPY --from=$X x y": (2, "variables are for FROM"),
    "FROM a\nRUN --mount=from=$X,target=/x y": (2, "variables are for FROM"),
    "# escape=x\nFROM a": (1, "escape character"),
    "# escape=`\n# escape=`\nFROM a": (2, "two directives"),
    f"FROM {'${a:-' * 5000}": (1, "words within words"),
    f"ARG V=x\nFROM a${{V#{'*a' * 30}}}": (2, "too much to match"),
}


@pytest.mark.parametrize(("text", "trouble"), TROUBLES.items())
def test_what_cannot_be_made_out_is_told(text: str, trouble: tuple[int, str]) -> None:
    told = _read(text).troubles
    assert told
    assert told[0].line == trouble[0]
    assert re.search(trouble[1], told[0].text)


def test_a_target_that_is_not_there_needs_everything() -> None:
    reading = _read("FROM a AS x\nFROM b", "y")
    assert reading.needed == (Base("a"), Base("b"))
    assert [trouble.text for trouble in reading.troubles] == ["there is no stage y"]


# Of buildkit/frontend/dockerfile/shell/envVarTest: the word, and its value or None.
WORDS = {
    "hello": "hello", "he'll'o": "hello", "he'llo": None, "he\\'llo": "he'llo", 'he"llo': None,
    "he\\\\'llo'": "he\\llo", "abc\\tdef": "abctdef", '"abc\\tdef"': "abc\\tdef", "'abc\\tdef'": "abc\\tdef",
    "hello\\": "hello", '"hello\\': None, "'$X'": "$X", '"$X"': "x", '"\\$X"': "$X", "\\$X": "$X", "$X$X": "xx",
    "$X.y": "x.y", "$": "$", "a$": "a$", "$.": "$.", "${X}y": "xy", "$Xy": "", "${": None, "${}": None, "${:}": None,
    "${X:-y}": "x", "${E:-y}": "y", "${E-y}": "", "${N-y}": "y", "${N:-${X}}": "x", "${N:-'}'}": "}", "${N:-\\}}": "}",
    "${X:+y}": "y", "${E:+y}": "", "${E+y}": "y", "${N+y}": "", "${X?no}": "x", "${E?no}": "", "${E:?no}": None,
    "${N?}": None, "${X:y}": None, "${A#a*}": "bcabc", "${A##a*c}": "", "${A%b*}": "abca", "${A%%b*}": "a",
    "${A/b/x}": "axcabc", "${A//b/x}": "axcaxc", "${A/a*c/}": "", "${A/?/\\/}": "\\/bcabc", "$1": "", "${A/b": None,
}  # fmt: skip


@pytest.mark.parametrize(("word", "value"), WORDS.items())
def test_words_are_expanded(word: str, value: str | None) -> None:
    variables = {"X": "x", "E": "", "A": "abcabc"}
    if value is None:
        with pytest.raises(BadWord):
            expand(word, variables)
    else:
        assert expand(word, variables) == value


@given(st.text("FROM \n\\`'\"$#{}<>-=:a,[]EOCPY\t\r/", max_size=80), st.sampled_from([None, "a"]))
def test_no_text_is_too_odd(text: str, target: str | None) -> None:
    for prefix in ("", "# escape=`\n", "FROM a\nRUN ", "FROM a\nCOPY --from=", "ARG a=", "FROM a AS a\n"):
        _read(prefix + text, target, a="b")


@pytest.mark.parametrize("text", NEEDED)
def test_images_have_other_names_and_nothing_else_is_another(text: str) -> None:
    """Wherever they are named; what is no image of that name keeps it."""
    before = _read(text)
    names = {each.name: f"pinned/{number}@sha256:{'b' * 64}" for number, each in enumerate(before.needed)}
    after = renamed(text, names, args={}, platform=PLATFORM)
    assert _read(after) == replace(before, needed=tuple(replace(each, name=names[each.name]) for each in before.needed))
    assert after.count("\n") == text.count("\n")
    assert renamed(text, {}, args={}, platform=PLATFORM) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("FROM a AS a\nFROM a\nCOPY --from=a / /\n", "FROM p AS a\nFROM a\nCOPY --from=a / /\n"),
        ("FROM a\nRUN echo a --from=a from=a\n", "FROM p\nRUN echo a --from=a from=a\n"),
        ("FROM a \\\n# a\nAS b\n", "FROM p \\\n# a\nAS b\n"),
        ("FROM a\nCOPY <<END /a\nFROM a\nEND\n", "FROM p\nCOPY <<END /a\nFROM a\nEND\n"),
        ("ARG N=a\nFROM --platform=$BUILDPLATFORM $N\n", "ARG N=a\nFROM --platform=$BUILDPLATFORM p\n"),
        ("FROM b\nONBUILD COPY --from=a / /\n", "FROM b\nONBUILD COPY --from=p / /\n"),
        (
            "FROM b\nRUN --mount=type=bind,from=a,target=/x --mount=from=a,target=/y true\n",
            "FROM b\nRUN --mount=type=bind,from=p,target=/x --mount=from=p,target=/y true\n",
        ),
    ],
)
def test_only_the_names_of_images_are_replaced(text: str, wanted: str) -> None:
    assert renamed(text, {"a": "p"}, args={}, platform=PLATFORM) == wanted
