"""The resolver: deadline, coalescing, cache, three-way answers (``answers``, ``inquiry``, ``resolver``).

Nothing is imported here: who wants to know the servers alone, as the check of the settings does, needs no event loop.
"""
