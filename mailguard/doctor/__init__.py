"""``mailguard doctor``: every part asked for real, and what to do about each that fails.

A part (:mod:`mailguard.doctor.parts`) is a module with one function, which writes what it found into its
:class:`~mailguard.doctor.notes.Notes`. All run at the same time, each within ``doctor.timeout``; whatever happens to
one, the others are told of (:mod:`mailguard.doctor.examination`). The parts ask by the service's own clients wherever
it has one, so that what they find is what mail meets.
"""
