# `make qualify`: build the images, run every suite on every architecture, write the report.
# `make test`: lint, types, fast tests (those of the library also on Debian 12's Twisted and
#   autobahn), a short look at the emulated routers.
# `make vagrant`: Vagrant, and the box for it; see docs/vagrant.md.
# `make bench`: what is promised of the speed, both sides measured; some 35 minutes.
# `make nightly`: the property tests, thoroughly.

PYTHON ?= python3.11
TOX := .tox/bootstrap/bin/tox
AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo)
missing = $(shell for p in $$(grep -v '^\#' requirements/$(1).txt); do \
	dpkg-query -W -f '$${db:Status-Abbrev}' $$p 2>/dev/null | grep -q ^ii || echo $$p; done)

define install
@set -e; missing="$(call missing,$(1))"; test -z "$$missing" || { \
	echo "These Debian packages are missing and will be installed: $$missing"; \
	$(AS_ROOT) apt-get update -q; \
	$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive \
		apt-get install -q -y --no-install-recommends $$missing; }
endef

.PHONY: qualify test vagrant bench nightly environment packages lock

qualify: environment
	.venv/bin/hil qualify

test: packages $(TOX)
	$(TOX) run -e harness,debian

vagrant: environment
	$(call install,vagrant)
	.venv/bin/hil image box

bench: environment
	.venv/bin/python -m benchmarks

nightly: environment
	.venv/bin/python -m pytest tests/base -n 2 --dist loadfile --hypothesis-profile nightly

environment: packages $(TOX)
	$(TOX) run -q -e harness --notest

packages:
	$(call install,debian)

$(TOX): requirements/tox.lock | packages
	@echo "A Python environment for the harness is made in .venv and .tox"
	$(PYTHON) -m venv --clear .tox/bootstrap
	.tox/bootstrap/bin/pip install -q --no-deps --require-hashes -r requirements/tox.lock

# Pins everything anew; needs uv. The device's pins come first: the host's have to agree with them.
lock:
	cd requirements && uv pip compile --python-platform linux --python-version 3.11 \
		--generate-hashes --no-header -q --extra link ../pyproject.toml -o device.lock
	cd requirements && uv pip compile --python-platform linux --python-version 3.11 \
		--generate-hashes --no-header -q --extra harness --extra dev -c device.lock \
		--override overrides.txt ../pyproject.toml -o harness.lock
	cd requirements && printf '%s\n' crochet hypothesis pytest pytest-timeout pytest-xdist trustme | \
		uv pip compile --python-platform linux --python-version 3.11 --generate-hashes --no-header -q \
		-c harness.lock $$(sed -n 's/^\([a-z].*\)==.*/--no-emit-package \1/p' device.lock) \
		- -o debian-tests.lock
	echo tox | uv pip compile --python-platform linux --python-version 3.11 \
		--generate-hashes --no-header -q - -o requirements/tox.lock
