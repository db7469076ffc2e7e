"""A real cluster of three nodes on one machine, and mail through it while it is broken: ``make test-ha``.

Corosync and Pacemaker of Debian, on the very files of ``deploy/pacemaker``; every node has mount, process, network,
host name and IPC namespaces of its own over an overlay of the root. It takes root. ``docs/cluster/failover.md`` is what
a run found.
"""
