# The two commands of the README, and what developers use beside them. Each target installs what it is missing.

CARGO ?= cargo

.PHONY: demo test unit check bench install

# Bonds links in network namespaces, pulls one under traffic, prints what was lost.
demo:
	lab/install.sh demo
	$(CARGO) build --release --locked -p oxbond -p oxbond-lab
	target/release/oxbond-demo

# Everything: formatting, lints, borders between the crates, unit, property, namespace and guest tests.
test:
	lab/install.sh test
	.ci/check
	.ci/test

# Formatting, lints, borders.
check:
	.ci/check

# The tests that need no root.
unit:
	$(CARGO) test --workspace -- --skip root_ --skip metered_ --skip guest_

# The figures in bench/README.md.
bench:
	lab/install.sh bench
	bench/run

# The program, its units and its manual pages, below DESTDIR.
PREFIX ?= /usr/local
install:
	$(CARGO) build --release --locked -p oxbond
	install -D -m 755 target/release/oxbond $(DESTDIR)$(PREFIX)/sbin/oxbond
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in oxbond.service oxbond-wait-online@.service; do \
		sed 's|@SBINDIR@|$(PREFIX)/sbin|' "dist/$$unit.in" > "$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit" || exit 1; \
	done
	install -d $(DESTDIR)$(PREFIX)/share/man/man8
	target/release/oxbond manual $(DESTDIR)$(PREFIX)/share/man/man8
