"""The journal asked as a whole: what a changed policy would have decided, and what each DNS list was good for.

``recorded`` makes facts of a record again, ``visible`` tells which of them a policy can tell apart, so that each kind
of evidence is judged once, ``judging`` compares what was done with what would be, ``replay`` and ``worth`` count.
Nothing is asked of the network: what a record does not hold is unknown, and told as such.
"""
