"""The channel between supervisor and child: whole messages, descriptors in their order, and what counts as closed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from mailguard import channel
from mailguard.channel import Channel, ChannelClosed, Kind, Message


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = channel.pair()
    other = Channel(theirs)
    yield ours, other
    ours.close()
    other.close()


@pytest.fixture
def raw() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_come_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    ours, other = ends
    ours.send(Kind.DRAIN, seconds=60.0)
    ours.send(Kind.STOP)
    assert other.receive() == [Message(Kind.DRAIN, {"seconds": 60.0}), Message(Kind.STOP)]
    assert other.receive() == []


def test_a_message_in_pieces_waits_for_its_end(raw: tuple[Channel, socket.socket]) -> None:
    ours, theirs = raw
    for octet in b'{"kind": "ready", "descriptors": 0}':
        theirs.send(bytes([octet]))
        assert ours.receive() == []
    theirs.send(b"\n")
    assert ours.receive() == [Message(Kind.READY)]


def test_descriptors_belong_to_their_message(ends: tuple[Channel, Channel]) -> None:
    ours, other = ends
    pipes = [os.pipe() for _ in range(3)]
    ours.send(Kind.START, [pipes[0][0], pipes[1][0]])
    ours.send(Kind.ACCEPT)
    ours.send(Kind.PREPARE, [pipes[2][0]])
    for number, (_, write) in enumerate(pipes):
        os.write(write, str(number).encode())
    messages: list[Message] = []
    while len(messages) < 3:
        messages += other.receive()
    got = [[os.read(descriptor, 1) for descriptor in message.descriptors] for message in messages]
    assert got == [[b"0", b"1"], [], [b"2"]]
    assert not any(os.get_inheritable(descriptor) for message in messages for descriptor in message.descriptors)
    for descriptor in (*[end for pipe in pipes for end in pipe], *[d for m in messages for d in m.descriptors]):
        os.close(descriptor)


def test_what_does_not_fit_goes_later(ends: tuple[Channel, Channel]) -> None:
    ours, other = ends
    text = "x" * 300_000
    for _ in range(4):
        ours.send(Kind.STATE, text=text)
    assert ours.wants_to_write
    messages: list[Message] = []
    while len(messages) < 4:
        messages += other.receive()
        ours.flush()
    assert [message.fields["text"] for message in messages] == [text] * 4
    assert not ours.wants_to_write


def test_who_never_reads_counts_as_gone(ends: tuple[Channel, Channel]) -> None:
    ours, _ = ends
    with pytest.raises(ChannelClosed, match="does not read"):
        for _ in range(10):
            ours.send(Kind.STATE, text="x" * (channel.MAX_LINE // 2))


def test_what_came_before_the_end_is_told_first(raw: tuple[Channel, socket.socket]) -> None:
    ours, theirs = raw
    theirs.send(b'{"kind": "ready", "descriptors": 0}\n')
    theirs.close()
    assert ours.receive() == [Message(Kind.READY)]
    with pytest.raises(ChannelClosed):
        ours.receive()
    with pytest.raises(ChannelClosed):
        ours.send(Kind.STOP)


@pytest.mark.parametrize(
    "line", [b"ready", b"[]", b"{}", b'{"kind": "nonsense", "descriptors": 0}', b'{"kind": "ready", "descriptors": 1}']
)
def test_what_is_no_message_closes(raw: tuple[Channel, socket.socket], line: bytes) -> None:
    ours, theirs = raw
    theirs.send(line + b"\n")
    with pytest.raises(ChannelClosed, match="no message"):
        ours.receive()


def test_too_long_a_message_is_a_mistake_here(ends: tuple[Channel, Channel]) -> None:
    with pytest.raises(ValueError, match="too long"):
        ends[0].send(Kind.STATE, text="x" * channel.MAX_LINE)
