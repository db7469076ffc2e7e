"""The dashboards of ``deploy/grafana`` as code: each panel is declared here, and its JSON generated.

    python -m deploy.grafana.source [--check]

One module a dashboard; :mod:`.query` writes PromQL that names only metrics and labels that are declared,
:mod:`.model` is what a panel consists of, :mod:`.frame` what all dashboards share, :mod:`.build` makes Grafana's JSON.
"""
