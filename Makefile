# make run      the main job with real servers on this machine (ONCE=1: end after the table; PORT=2526: not on 2525;
#               BREAK=clamd, zone or junk-router: with that part broken, which it must notice)
# make test     every check and every test, real servers included; installs what is missing
# make check    formatting, lint, types, layers, reference pages, fast tests: two minutes, no server
# make bench    how fast, on this machine, beside Postfix, Haraka and Exim: a quarter of an hour (ARGS=--write)
# make bench-curves   how the cost of a message grows with what: some minutes (ARGS=--write)
# make bench-journal  a journal of five million records, and how fast it answers: some minutes, 1 GB
# make soak     under load, policies and workers are replaced, processes killed, connections idle: every message counted
#               (ten minutes; ARGS="killing crowd": these parts alone)
# make docs     write the reference pages and the dashboards anew
# make deb      the Debian package, in dist/, of what is committed
# make guest    a bootable disk with Debian 12 and that package, in dist/ (root, mmdebstrap; some minutes; SCANNERS=neighbours:
#               without clamd and spamd)
#
# make test-mutants   break each invariant in a copy: its test must turn red
# make test-dashboards   compile the dashboards against Grafana's own types (npm, tsc)
# make pictures       draw the dashboards from a real Prometheus after a few minutes of traffic
# make test-ha      a real cluster of three nodes in namespaces, broken in every way: mail counted (root; ten minutes)
# make test-fresh     make run and make test on a Debian 12 with nothing but git, make and python3.11 (root, mmdebstrap)
# make test-guest     boots that disk under QEMU, sends mail through it, and has it move between two machines with DRBD
#                     (root; a quarter of an hour; ARGS="--accel kvm" where there is KVM)
# make deb-check      the package under lintian and piuparts, and its service under a real systemd (root, mmdebstrap; minutes)
# make lock           resolve requirements.lock anew (needs uv)
# make clean          remove what make made
#
# PYTHON=/path/to/python3.11 names another interpreter, ARGS="-k proxy" goes to pytest, JOBS=4
# runs so many of the fast tests at the same time.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

SCANNERS ?= inside
PYTHON ?= $(firstword $(wildcard /usr/bin/python3.11 /usr/bin/python3) python3)
UV ?= uv
ARGS ?=
JOBS ?= 2

setup := deploy/setup
bin := .venv/bin
pytest := sh tests/in_namespace.sh $(bin)/python -m pytest -q $(ARGS)

servers := exim4-daemon-heavy clamav-daemon spamassassin spamd rbldnsd unbound
# Postfix is unpacked and not installed, since Debian has one mail server a machine; its libraries are installed.
postfix := build/postfix
# Nor is fail2ban installed: it would look after the machine that tests run on.
fail2ban := build/fail2ban
postfix_libraries := libdb5.3 libicu72 libnsl2 libsasl2-2
mailbox_servers := dovecot-core dovecot-imapd dovecot-lmtpd dovecot-sieve
mail_clients := swaks libnet-ssleay-perl
packaging := build-essential debhelper python3-venv
guest_build := mmdebstrap grub-pc-bin grub-common fdisk e2fsprogs
guest_files := nftables libvirt-clients xorriso
guest_run := qemu-system-x86 qemu-utils libvirt-daemon-system libvirt-daemon-driver-qemu drbd-utils nbd-server busybox-static cpio kmod \
  dmsetup libaio1 libedit2
package_checks := lintian mmdebstrap piuparts systemd
monitors := prometheus prometheus-alertmanager nagios4-core icinga2-bin
cluster := pacemaker pacemaker-cli-utils corosync crmsh resource-agents fence-agents drbd-utils socat curl iputils-ping iputils-arping
cluster_checks := libxml2-utils shellcheck
test_tools := iproute2 $(cluster) $(cluster_checks) $(guest_files) groff-base $(monitors) $(mailbox_servers) $(mail_clients) $(postfix_libraries)
compile := pip compile --quiet --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.PHONY: help run test check bench bench-curves bench-journal soak docs lint test-fast test-slow test-real test-ha test-mutants test-dashboards pictures deb deb-check guest test-guest test-fresh lock clean venv servers

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

venv:
	@sh $(setup)/packages.sh python3-venv
	@sh $(setup)/venv.sh $(PYTHON)

servers:
	@sh $(setup)/packages.sh python3-venv $(servers)

run: servers venv
	@$(bin)/mailguard demo $(if $(filter-out 0,$(ONCE)),--once) $(if $(PORT),--port $(PORT)) $(if $(BREAK),--break $(BREAK))

test: check test-slow test-real

check: lint test-fast

lint: venv
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/mailguard reference --check
	$(bin)/python -m deploy.grafana.source --check

test-fast: venv
	@sh $(setup)/packages.sh openssl
	$(pytest) -m "not real and not slow" -n $(JOBS) --dist worksteal

test-slow: venv
	$(pytest) -m "slow and not real" -n $(JOBS) --dist worksteal

test-real: servers venv
	@sh $(setup)/packages.sh $(test_tools)
	@sh $(setup)/unpack.sh postfix $(postfix)
	@sh $(setup)/unpack.sh fail2ban $(fail2ban)
	$(pytest) -m real

test-ha: servers venv
	@sh $(setup)/packages.sh iproute2 $(cluster)
	sh tests/in_namespace.sh $(bin)/python -m tests.ha $(ARGS)

test-mutants: venv
	@sh $(setup)/packages.sh iproute2 prometheus $(cluster) $(cluster_checks) $(guest_files)
	sh tests/in_namespace.sh $(bin)/python -m tests.mutants.run

test-dashboards: venv
	@command -v npm >/dev/null || sh $(setup)/packages.sh nodejs npm
	@mkdir -p build/dashboards && cp deploy/grafana/schema/package.json deploy/grafana/schema/package-lock.json build/dashboards
	cd build/dashboards && npm ci --no-audit --no-fund
	$(bin)/python -m deploy.grafana.source.typed >build/dashboards/dashboards.ts
	cd build/dashboards && node_modules/.bin/tsc --noEmit --strict --skipLibCheck --module nodenext --target es2022 dashboards.ts

pictures: servers venv
	@sh $(setup)/packages.sh prometheus iproute2
	$(bin)/python -m pip install --quiet --require-hashes --only-binary :all: -r $(setup)/pictures.lock
	sh tests/in_namespace.sh $(bin)/python -m tests.pictures $(ARGS)

test-fresh:
	sh tests/fresh/fresh.sh

bench: servers venv
	@sh $(setup)/packages.sh iproute2 $(postfix_libraries)
	@sh $(setup)/unpack.sh postfix $(postfix)
	@sh tests/bench/peers/install.sh build/haraka
	sh tests/in_namespace.sh $(bin)/python -m tests.bench $(ARGS)

bench-curves: servers venv
	@sh $(setup)/packages.sh iproute2 $(postfix_libraries)
	@sh $(setup)/unpack.sh postfix $(postfix)
	$(bin)/python -m pip install --quiet --require-hashes --only-binary :all: -r $(setup)/pictures.lock
	sh tests/in_namespace.sh $(bin)/python -m tests.bench.curves $(ARGS)

bench-journal: venv
	$(bin)/python -m tests.bench.journal $(ARGS)

soak: servers venv
	sh tests/in_namespace.sh $(bin)/python -m tests.soak $(ARGS)

docs: venv
	$(bin)/mailguard reference
	$(bin)/python -m deploy.grafana.source

deb:
	@sh $(setup)/packages.sh $(packaging)
	@sh deploy/debian/build.sh

deb-check: deb
	@sh $(setup)/packages.sh $(package_checks)
	sh tests/packaging/check.sh

guest: deb
	@sh $(setup)/packages.sh $(guest_build)
	sh deploy/guest/build.sh $(SCANNERS)

test-guest: venv
	@sh $(setup)/packages.sh iproute2 xorriso $(guest_run)
	@sh tests/guest/parts.sh
	@[ -f dist/mailguard-guest.img ] || $(MAKE) guest
	@[ -f dist/mailguard-guest-neighbours.img ] || $(MAKE) guest SCANNERS=neighbours
	sh tests/in_namespace.sh $(bin)/python -m tests.guest $(ARGS)

lock:
	$(UV) $(compile) --python $(PYTHON) --extra dev --upgrade pyproject.toml -o requirements.lock
	$(UV) $(compile) --python $(PYTHON) --upgrade --constraints requirements.lock $(setup)/build.in -o $(setup)/build.lock
	$(UV) $(compile) --python $(PYTHON) --upgrade --constraints requirements.lock $(setup)/pictures.in -o $(setup)/pictures.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find mailguard tests -name __pycache__ -prune -exec rm -rf {} +
