"""The grammar of commands: what is taken comes out byte for byte, what is not gets the reply that says why."""

from __future__ import annotations

import re
from email.utils import parseaddr
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.commands import Extensions, Parameter
from mailguard.smtp import grammar

ALL = Extensions(size=1000, eightbitmime=True, smtputf8=True, dsn=True)
NONE = Extensions()


def refusal(call, *args, **kwargs) -> str:
    with pytest.raises(grammar.Refused) as caught:
        call(*args, **kwargs)
    return str(caught.value.reply)


@pytest.mark.parametrize(
    ("line", "verb", "argument"),
    [
        (b"EHLO x", "EHLO", b"x"),
        (b"ehlo x \t", "EHLO", b"x"),
        (b"quit", "QUIT", b""),
        (b"MAIL FROM:<a b@c>", "MAIL", b"FROM:<a b@c>"),
        (b"", "", b""),
        (b" NOOP", "", b"NOOP"),
        (b"NO-OP", "", b""),
        (b"NOOP\tx", "", b""),
        ("ÉHLO x".encode(), "", b"x"),
    ],
)
def test_verb_and_argument(line: bytes, verb: str, argument: bytes) -> None:
    assert grammar.split_command(line) == (verb, argument)


PATHS = [
    b"<user@example.com>",
    b"<User+tag=x@EXAMPLE.com>",
    b"<!#$%&'*+-/=?^_`{|}~@example.com>",
    b"<a.b.c@d.e.f>",
    b"<a@b>",
    b"<1@2.3>",
    b"<bounce_1@mail_out.example.com>",
    b'<"a b"@c.org>',
    b'<"a@b"@c.org>',
    b'<"a>b"@c.org>',
    b'<"a\\"b"@c.org>',
    b'<"a\\\\"@c.org>',
    b'<""@c.org>',
    b"<a@[198.18.0.1]>",
    b"<a@[IPv6:2001:db8::1]>",
    b"<a@[IPv6:::ffff:198.18.0.1]>",
    "<döner@example.com>".encode(),
    "<user@münchen.example>".encode(),
    "<用户@例子.example>".encode(),
    b"<" + b"l" * 255 + b"@" + b".".join([b"d" * 63] * 3) + b".com>",
    b"<=?utf-8?q?x=3e=0d=0aRCPT=20TO=3a=3cvictim=40y?=@c.org>",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_valid_path_comes_out_byte_for_byte(path: bytes) -> None:
    assert grammar.mail_from(b"FROM:" + path + b" SMTPUTF8", ALL).path.encode() == path
    assert grammar.rcpt_to(b"TO:" + path, NONE, smtputf8=True).path.encode() == path


BAD_PATHS = [
    (b"", "it must stand in < >"),
    (b"user@example.com", "it must stand in < >"),
    (b"<user@example.com", "no closing >"),
    (b"<user", "no domain"),
    (b"<user>", "no domain"),
    (b"<@example.com>", "a source route ends in :"),
    (b"<user@>", "not a domain"),
    (b"<a@b..c>", "not a domain"),
    (b"<a@.c>", "not a domain"),
    (b"<a@c.>", "not a domain"),
    (b"<a@-c>", "not a domain"),
    (b"<a@c->", "not a domain"),
    (b"<a@b@c>", "not a domain"),
    (b"<a@b c>", "not a domain"),
    (b"<a@" + b"d" * 64 + b">", "not a domain"),
    (b"<a@" + b".".join([b"d" * 63] * 4) + b".x>", "not a domain"),
    (b"<a b@c>", "the local part needs quotes"),
    (b"<a..b@c>", "the local part needs quotes"),
    (b"<.a@c>", "the local part needs quotes"),
    (b"<a.@c>", "the local part needs quotes"),
    (b'<a"b"@c>', "the local part needs quotes"),
    (b"<a:b@c>", "the local part needs quotes"),
    (b"<a\tb@c>", "the local part needs quotes"),
    (b"<a\x7fb@c>", "the local part needs quotes"),
    (b"<=?utf-8?q?x=3e=0d=0aRCPT=20TO:=3cvictim=40y?=@c.org>", "the local part needs quotes"),
    (b"<" + b"l" * 256 + b"@c>", "the local part is too long"),
    (b'<"a@c>', "no closing quote"),
    (b'<"a\\"@c>', "no closing quote"),
    (b'<"a\\', "no closing quote"),
    (b'<"a"b@c>', "no domain"),
    (b'<"a">', "no domain"),
    (b'<"a\x01"@c>', "a control character"),
    (b"<a@[198.18.0.256]>", "not an address literal"),
    (b"<a@[198.18.0]>", "not an address literal"),
    (b"<a@[198.18.0.01]>", "not an address literal"),
    (b"<a@[2001:db8::1]>", "not an address literal"),
    (b"<a@[IPv6:2001:db8::1%eth0]>", "not an address literal"),
    (b"<a@[IPv6:198.18.0.1]>", "not an address literal"),
    (b"<a@[x:y]>", "not an address literal"),
    (b"<a@[198.18.0.1>", "not an address literal"),
    ("<a@[IPv6:２001::1]>".encode(), "not an address literal"),
    (b"<\xff@c>", "not valid UTF-8"),
    (b"<a\xc3@c>", "not valid UTF-8"),
    (b"<\xc0\xaf@c>", "not valid UTF-8"),
    (b"<\xed\xa0\x80@c>", "not valid UTF-8"),
    ("<a\u0085b@c>".encode(), "a control character"),
    (b"<@a,b:c@d>", "each host of a source route begins with @"),
    (b"<@a..b:c@d>", "not a domain"),
    (b"<@a:>", "no domain"),
]


@pytest.mark.parametrize(("path", "problem"), BAD_PATHS)
def test_a_path_outside_the_grammar(path: bytes, problem: str) -> None:
    assert refusal(grammar.mail_from, b"FROM:" + path, ALL) == f"501 5.1.7 Bad sender address: {problem}"
    assert refusal(grammar.rcpt_to, b"TO:" + path, ALL, smtputf8=True) == f"501 5.1.3 Bad address: {problem}"


def test_null_path_is_a_sender_and_no_recipient() -> None:
    assert grammar.mail_from(b"FROM:<>", NONE).encode() == b"MAIL FROM:<>"
    assert refusal(grammar.rcpt_to, b"TO:<>", NONE, smtputf8=False) == "501 5.1.3 Bad address: a recipient cannot be <>"


@pytest.mark.parametrize("word", [b"postmaster", b"Postmaster", b"POSTMASTER"])
def test_postmaster_alone_is_a_recipient_and_no_sender(word: bytes) -> None:
    command = grammar.rcpt_to(b"TO:<%b>" % word, NONE, smtputf8=False)
    assert command.encode() == b"RCPT TO:<%b>" % word
    assert not command.path.mailbox.domain
    assert refusal(grammar.mail_from, b"FROM:<%b>" % word, NONE) == "501 5.1.7 Bad sender address: no domain"


@pytest.mark.parametrize("route", [b"@a:", b"@a,@b.c:", b"@[198.18.0.1],@x:"])
def test_a_source_route_is_dropped(route: bytes) -> None:
    assert grammar.rcpt_to(b"TO:<%bu@d>" % route, NONE, smtputf8=False).encode() == b"RCPT TO:<u@d>"


@pytest.mark.parametrize(
    ("argument", "out"),
    [
        (b"FROM:<a@b>", b"MAIL FROM:<a@b>"),
        (b"from:<a@b>", b"MAIL FROM:<a@b>"),
        (b"FROM:  <a@b>", b"MAIL FROM:<a@b>"),
        (b"FROM:<a@b> SIZE=10", b"MAIL FROM:<a@b> SIZE=10"),
        (b"FROM:<a@b>   size=10   body=8bitMIME", b"MAIL FROM:<a@b> SIZE=10 BODY=8bitMIME"),
        (b"FROM:<a@b> BODY=7BIT SMTPUTF8", b"MAIL FROM:<a@b> BODY=7BIT SMTPUTF8"),
    ],
)
def test_mail_with_parameters(argument: bytes, out: bytes) -> None:
    assert grammar.mail_from(argument, ALL).encode() == out


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        (b"", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        (b"FROM <a@b>", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        (b"TO:<a@b>", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        (b"FROM:<a@b>SIZE=1", "501 5.5.4 Syntax: a space between the address and its parameters"),
        (b"FROM:<a@b>\tSIZE=1", "501 5.5.4 Syntax: a space between the address and its parameters"),
        (b"FROM:<a@b> SIZE=1\x0bBODY=7BIT", "501 5.5.4 Syntax: SIZE=value"),
        (b"FROM:<a@b> SIZE", "501 5.5.4 Syntax: SIZE=octets"),
        (b"FROM:<a@b> SIZE=", "501 5.5.4 Syntax: SIZE=value"),
        (b"FROM:<a@b> SIZE=-1", "501 5.5.4 Syntax: SIZE=octets"),
        (b"FROM:<a@b> SIZE=1x", "501 5.5.4 Syntax: SIZE=octets"),
        ("FROM:<a@b> SIZE=１".encode(), "501 5.5.4 Syntax: SIZE=octets"),
        (b"FROM:<a@b> SIZE=" + b"9" * 21, "501 5.5.4 Syntax: SIZE=octets"),
        (b"FROM:<a@b> SIZE=1=2", "501 5.5.4 Syntax: SIZE=value"),
        (b"FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4 Syntax: SIZE once"),
        (b"FROM:<a@b> BODY=BINARYMIME", "501 5.5.4 Syntax: BODY=7BIT or BODY=8BITMIME"),
        (b"FROM:<a@b> BODY", "501 5.5.4 Syntax: BODY=7BIT or BODY=8BITMIME"),
        (b"FROM:<a@b> SMTPUTF8=1", "501 5.5.4 Syntax: SMTPUTF8 without a value"),
        (b"FROM:<a@b> =1", "501 5.5.4 Syntax: parameters as KEYWORD or KEYWORD=value"),
        (b"FROM:<a@b> -X=1", "501 5.5.4 Syntax: parameters as KEYWORD or KEYWORD=value"),
        (b"FROM:<a@b> X_Y=1", "501 5.5.4 Syntax: parameters as KEYWORD or KEYWORD=value"),
        (b"FROM:<a@b> FOO=bar", "555 5.5.4 Parameter not recognised: FOO"),
        (b"FROM:<a@b> AUTH=<>", "555 5.5.4 Parameter not recognised: AUTH"),
        (b"FROM:<a@b> HOLDFOR=9", "555 5.5.4 Parameter not recognised: HOLDFOR"),
    ],
)
def test_mail_outside_the_grammar(argument: bytes, reply: str) -> None:
    assert refusal(grammar.mail_from, argument, ALL) == reply


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        (b"FROM:<a@b>", "501 5.5.4 Syntax: RCPT TO:<address>"),
        (b"TO:<a@b> RRVS=9", "555 5.5.4 Parameter not recognised: RRVS"),
        (b"TO:<a@b> SIZE=1", "555 5.5.4 Parameter not recognised: SIZE"),
    ],
)
def test_rcpt_outside_the_grammar(argument: bytes, reply: str) -> None:
    assert refusal(grammar.rcpt_to, argument, ALL, smtputf8=False) == reply


@pytest.mark.parametrize("parameter", ["SIZE=1", "BODY=8BITMIME", "SMTPUTF8", "RET=FULL", "ENVID=x"])
def test_a_parameter_that_was_not_offered(parameter: str) -> None:
    keyword = parameter.partition("=")[0]
    argument = f"FROM:<a@b> {parameter}".encode()
    assert refusal(grammar.mail_from, argument, NONE) == f"555 5.5.4 Parameter not recognised: {keyword}"
    assert grammar.mail_from(argument, ALL).parameter(keyword) is not None


def test_utf8_needs_smtputf8() -> None:
    assert refusal(grammar.mail_from, "FROM:<é@b>".encode(), ALL) == "553 5.6.7 Address needs SMTPUTF8"
    assert refusal(grammar.rcpt_to, "TO:<a@é>".encode(), ALL, smtputf8=False) == "553 5.6.7 Address needs SMTPUTF8"


@pytest.mark.parametrize("name", ["a", "mail.example.com", "[198.18.0.1]", "[IPv6:::1]", "my_pc", "::1", "x" * 255])
def test_helo_names(name: str) -> None:
    assert grammar.helo_name(name.encode(), "EHLO") == name


@pytest.mark.parametrize("name", [b"", b"  ", b"a b", b"<a>", b"a(b)", b"a;b", b"x" * 256, b"\xff", b"a\x00", b"a\tb"])
def test_bad_helo_names(name: bytes) -> None:
    assert refusal(grammar.helo_name, name, "EHLO") == "501 5.5.4 Syntax: EHLO hostname"


ATOM = st.text("abcXYZ019!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=12)
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
QUOTED = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20).map(
    lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
LOCAL = st.one_of(st.lists(ATOM, min_size=1, max_size=4).map(".".join), QUOTED)
DOMAIN = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


@given(LOCAL, DOMAIN)
def test_whatever_the_rfc_generates_is_taken_as_it_is(local: str, domain: str) -> None:
    path = grammar.rcpt_to(f"TO:<{local}@{domain}>".encode(), NONE, smtputf8=False).path
    assert (path.local, path.domain) == (local.encode(), domain.encode())


@given(st.lists(ATOM, min_size=1, max_size=4).map(".".join), DOMAIN)
def test_the_standard_library_reads_the_same_mailbox(local: str, domain: str) -> None:
    mailbox = grammar.rcpt_to(f"TO:<{local}@{domain}>".encode(), NONE, smtputf8=False).path.mailbox
    assert parseaddr(f"<{local}@{domain}>")[1] == f"{local}@{domain}"
    assert str(mailbox) == f"{local}@{domain}"


def outcomes(path: bytes) -> list[object]:
    """What comes of a path in MAIL and in RCPT, or why none is taken."""
    found: list[object] = []
    for read in (
        lambda: grammar.mail_from(b"fRoM:" + path, ALL),
        lambda: grammar.rcpt_to(b"TO: " + path, ALL, smtputf8=False),
    ):
        try:
            found.append(read())
        except grammar.Refused as refused:
            found.append(str(refused.reply))
    return found


def same_without_the_pattern_of_plain_paths(path: bytes) -> bool:
    shorter = outcomes(path)
    with (
        patch.object(grammar, "_PLAIN_MAIL", re.compile(b"(?!)")),
        patch.object(grammar, "_PLAIN_RCPT", re.compile(b"(?!)")),
    ):
        return shorter == outcomes(path)


PIECES = st.sampled_from([*'<>@.-_"\\:[], =aZ0+\t\x00\x7f', "<a@b.c>", "a.b", "SIZE=1", "é", "[198.18.0.1]", " "])


@given(st.lists(PIECES, max_size=12).map("".join) | st.builds("<{}@{}>{}".format, LOCAL, DOMAIN, st.text(max_size=5)))
def test_the_pattern_of_plain_paths_takes_nothing_that_the_grammar_takes_otherwise(path: str) -> None:
    assert same_without_the_pattern_of_plain_paths(path.encode())


@pytest.mark.parametrize("local", ["a" * 255, "a" * 256, "a." * 127 + "a", "a..b", ".a", "a.", ""])
@pytest.mark.parametrize(
    "domain",
    [
        ".".join(["b" * 63] * 3 + ["b" * 63]),
        ".".join(["b" * 63] * 4 + ["b"]),
        "b" * 63,
        "b" * 64,
        "-b",
        "b-",
        "_",
        "b.-",
        "b.",
        "b..c",
        "",
    ],
)
def test_the_pattern_of_plain_paths_at_the_bounds(local: str, domain: str) -> None:
    assert same_without_the_pattern_of_plain_paths(f"<{local}@{domain}>".encode())


@given(st.binary(max_size=60) | st.text('<>@"\\:,.[]=? aIPv6\r\n\0é', max_size=40).map(str.encode))
def test_garbage_is_refused_or_holds_no_line_end(octets: bytes) -> None:
    for read in (
        lambda: grammar.mail_from(b"FROM:" + octets, ALL),
        lambda: grammar.rcpt_to(b"TO:" + octets, ALL, smtputf8=True),
    ):
        try:
            out = read().encode()
        except grammar.Refused as refused:
            assert 500 <= refused.reply.code <= 555
        else:
            assert not any(c < 0x20 or c == 0x7F for c in out)
            out.decode()


# --- DSN (RFC 3461) -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters",
    [
        b"RET=FULL",
        b"RET=hdrs",
        b"ENVID=QQ314159",
        b"ENVID=a+2Bb+3Dc+20d+09",
        b"ENVID=" + b"x" * 100,
        b"RET=HDRS ENVID=+2b",
    ],
)
def test_dsn_parameters_of_mail_come_out_as_they_were(parameters: bytes) -> None:
    assert grammar.mail_from(b"FROM:<a@b> " + parameters, ALL).encode() == b"MAIL FROM:<a@b> " + parameters


@pytest.mark.parametrize(
    "parameters",
    [
        b"NOTIFY=NEVER",
        b"NOTIFY=success",
        b"NOTIFY=SUCCESS,FAILURE,DELAY",
        b"ORCPT=rfc822;Bob@Example.COM",
        b"ORCPT=rfc822;a+2Bb@c.example",
        b"ORCPT=x400;/G=Bob/S=Smith/C=us/".replace(b"=", b"+3D").replace(b"ORCPT+3D", b"ORCPT="),
        b"ORCPT=utf-8;d\\x{F6}ner@example.com",
        b"ORCPT=rfc822;" + b"x" * 493,
        b"NOTIFY=DELAY ORCPT=rfc822;bob@example.com",
    ],
)
def test_dsn_parameters_of_rcpt_come_out_as_they_were(parameters: bytes) -> None:
    command = grammar.rcpt_to(b"TO:<a@b> " + parameters, ALL, smtputf8=False)
    assert command.encode() == b"RCPT TO:<a@b> " + parameters


ENVID = "501 5.5.4 Syntax: ENVID=xtext of at most 100 octets"
RET = "501 5.5.4 Syntax: RET=FULL or RET=HDRS"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (b"RET", RET),
        (b"RET=ALL", RET),
        (b"RET=FULL RET=FULL", "501 5.5.4 Syntax: RET once"),
        (b"ENVID", ENVID),
        (b"ENVID=+", ENVID),
        (b"ENVID=a+2", ENVID),
        (b"ENVID=a+G0", ENVID),
        (b"ENVID=a+0D+0Ab", ENVID),
        (b"ENVID=a+7F", ENVID),
        (b"ENVID=a+80", ENVID),
        ("ENVID=é".encode(), ENVID),
        (b"ENVID=" + b"x" * 101, ENVID),
        (b"ENVID=a=b", "501 5.5.4 Syntax: ENVID=value"),
        (b"NOTIFY=NEVER", "555 5.5.4 Parameter not recognised: NOTIFY"),
    ],
)
def test_bad_dsn_parameters_of_mail(parameters: bytes, said: str) -> None:
    assert refusal(grammar.mail_from, b"FROM:<a@b> " + parameters, ALL) == said


NOTIFY = "501 5.5.4 Syntax: NOTIFY=NEVER or a list of SUCCESS, FAILURE, DELAY"
ORCPT = "501 5.5.4 Syntax: ORCPT=type;xtext of at most 500 octets"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (b"NOTIFY", NOTIFY),
        (b"NOTIFY=NEVER,FAILURE", NOTIFY),
        (b"NOTIFY=FAILURE,NEVER", NOTIFY),
        (b"NOTIFY=NEVER,NEVER", NOTIFY),
        (b"NOTIFY=SUCCESS,", NOTIFY),
        (b"NOTIFY=,", NOTIFY),
        (b"NOTIFY=ALWAYS", NOTIFY),
        (b"NOTIFY=DELAY NOTIFY=DELAY", "501 5.5.4 Syntax: NOTIFY once"),
        (b"ORCPT=bob@example.com", ORCPT),
        (b"ORCPT=;bob@example.com", ORCPT),
        (b"ORCPT=rfc822;", ORCPT),
        (b"ORCPT=rfc(822);bob", ORCPT),
        (b"ORCPT=rfc822;a+0Ab", ORCPT),
        (b"ORCPT=rfc822;a+b@c", ORCPT),
        (b"ORCPT=rfc822;" + b"x" * 494, ORCPT),
        ("ORCPT=rfc822;é@c".encode(), ORCPT),
        (b"ORCPT=utf-8;\xff@c", "501 5.1.3 Bad address: not valid UTF-8"),
        ("ORCPT=utf-8;\u0085@c".encode(), "501 5.1.3 Bad address: a control character"),
        ("ORCPT=utf-8;é+0D@c".encode(), ORCPT),
        (b"RET=FULL", "555 5.5.4 Parameter not recognised: RET"),
    ],
)
def test_bad_dsn_parameters_of_rcpt(parameters: bytes, said: str) -> None:
    assert refusal(grammar.rcpt_to, b"TO:<a@b> " + parameters, ALL, smtputf8=True) == said


def test_an_original_recipient_in_utf8_needs_smtputf8() -> None:
    argument = "TO:<a@b> ORCPT=utf-8;döner@example.com".encode()
    assert grammar.rcpt_to(argument, ALL, smtputf8=True).encode() == b"RCPT " + argument
    assert refusal(grammar.rcpt_to, argument, ALL, smtputf8=False) == "553 5.6.7 Address needs SMTPUTF8"


@pytest.mark.parametrize("parameter", ["NOTIFY=NEVER", "ORCPT=rfc822;a@b"])
def test_dsn_for_a_recipient_that_was_not_offered(parameter: str) -> None:
    said = refusal(grammar.rcpt_to, f"TO:<a@b> {parameter}".encode(), NONE, smtputf8=False)
    assert said == f"555 5.5.4 Parameter not recognised: {parameter.partition('=')[0]}"


@given(st.binary(min_size=1, max_size=40))
def test_what_is_xtext_decodes_to_printable_ascii(value: bytes) -> None:
    try:
        grammar.mail_from(b"FROM:<a@b> ENVID=" + value, ALL)
    except grammar.Refused:
        return
    assert unescaped(value.rstrip()).decode("ascii").isprintable()


def unescaped(value: bytes) -> bytes:
    """What the xtext ``value`` stands for, its tabs as spaces."""
    return re.sub(rb"\+(..)", lambda found: bytes([int(found[1], 16)]), value).replace(b"\t", b" ")


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=30))
def test_any_printable_envelope_id_can_be_given(text: str) -> None:
    value = "".join(c if "!" <= c <= "~" and c not in "+=" else f"+{ord(c):02X}" for c in text)
    command = grammar.mail_from(f"FROM:<a@b> ENVID={value}".encode(), ALL)
    assert command.parameter("ENVID") == Parameter("ENVID", value.encode())
