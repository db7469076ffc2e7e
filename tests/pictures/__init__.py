"""Pictures of the dashboards, drawn by matplotlib from the queries of their own JSON, of a real Prometheus.

    make pictures

Grafana is not part of it: what an operator sees there looks better, and shows the same series. :mod:`.traffic` makes
some minutes of mail with troubles, :mod:`.series` asks Prometheus what a panel asks, :mod:`.drawing` draws it.
"""
