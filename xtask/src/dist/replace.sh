# Arguments: our package, and the files of Debian's ipvsadm with what it needs.
# Runs in a guest, whose changes to files are forgotten.

ours=$1
shift
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
# Packages start services on a machine that has booted, and where nothing forbids it, as containers
# do. (What stands there may be a link.)
rm -f /usr/sbin/policy-rc.d /sbin/runlevel
printf '#!/bin/sh\nexit 0\n' > /usr/sbin/policy-rc.d
printf '#!/bin/sh\necho N 2\n' > /sbin/runlevel
chmod 755 /usr/sbin/policy-rc.d /sbin/runlevel
# Nothing here asks; a question would be answered by an end of file, which dpkg takes for a failure.
exec < /dev/null

say() { echo "- $*"; }
fail() {
	echo "FAILED: $*" >&2
	exit 1
}
is_ours() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' ipvsadm-rs 2> /dev/null)" = installed ] &&
		/sbin/ipvsadm -v | grep -q Rust
}
is_theirs() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' ipvsadm 2> /dev/null)" = installed ] &&
		! ipvsadm -h 2>&1 | grep -q Rust
}
# How many virtual services the kernel itself says there are.
services() { grep -c '^TCP' /proc/net/ip_vs || true; }

# Every action of the service, with whichever package is installed: $1 says which that is.
use_service() {
	ipvsadm -C
	ipvsadm -A -t 192.0.2.1:80 -s rr
	ipvsadm -a -t 192.0.2.1:80 -r 192.0.2.2 -g
	/etc/init.d/ipvsadm save
	grep -qx -e '-A -t 192.0.2.1:80 -s rr' /etc/ipvsadm.rules || fail "$1: save"
	printf 'AUTO="true"\nDAEMON="both"\nIFACE="lo"\nSYNCID="7"\n' > /etc/default/ipvsadm
	ipvsadm -C
	/etc/init.d/ipvsadm start
	[ "$(services)" = 1 ] || fail "$1: start loads no rules"
	ipvsadm -L --daemon | grep -q 'master sync daemon.*syncid=7' || fail "$1: no master daemon"
	ipvsadm -L --daemon | grep -q 'backup sync daemon.*syncid=7' || fail "$1: no backup daemon"
	/etc/init.d/ipvsadm status | grep -q 192.0.2.2:80 || fail "$1: status"
	/etc/init.d/ipvsadm rate | grep -q CPS || fail "$1: rate"
	/etc/init.d/ipvsadm reload
	[ "$(services)" = 1 ] || fail "$1: reload"
	/etc/init.d/ipvsadm restart
	[ "$(services)" = 1 ] || fail "$1: restart"
	/etc/init.d/ipvsadm stop
	[ "$(services)" = 0 ] || fail "$1: stop leaves rules"
	[ -z "$(ipvsadm -L --daemon)" ] || fail "$1: stop leaves daemons"
	/etc/init.d/ipvsadm load
	[ "$(services)" = 1 ] || fail "$1: load"
	[ -e /etc/rc2.d/S*ipvsadm ] || fail "$1: nothing starts it at boot"
}

# A service action that has to fail: $1 says why, the rest is the rules.
refuses() {
	why=$1
	shift
	printf '%s\n' "$@" > /etc/ipvsadm.rules
	for action in start restart reload force-reload load; do
		! /etc/init.d/ipvsadm "$action" > /tmp/said 2>&1 || fail "$action succeeds: $why"
		grep -q failed /tmp/said || fail "$action says nothing of it: $why"
	done
}

# Nothing but rules that were all loaded is a success, with and without daemons to be started after
# them.
report_failures() {
	for daemon in none both; do
		printf 'AUTO="true"\nDAEMON="%s"\nIFACE="lo"\nSYNCID="7"\n' $daemon > /etc/default/ipvsadm
		refuses "a line is no command" '-A -t 192.0.2.1:80 -s rr' 'nonsense'
		refuses "an option is unknown" '-A -t 192.0.2.1:80 --bogus' '-A -t 192.0.2.2:80'
		refuses "the kernel refuses a line before the last" \
			'-a -t 192.0.2.1:80 -r 192.0.2.2' '-A -t 192.0.2.1:80 -s rr'
		[ "$(services)" = 1 ] || fail "a line after the refused one wasn't loaded"
		refuses "the kernel refuses the last line" '-A -t 192.0.2.1:80' '-A -t 192.0.2.1:80'
		/etc/init.d/ipvsadm stop
	done
	printf 'AUTO="true"\nIFACE="missing"\nDAEMON="master"\n' > /etc/default/ipvsadm
	refuses_daemon() { ! /etc/init.d/ipvsadm "$1" || fail "$1 succeeds without its daemon"; }
	printf -- '-A -t 192.0.2.1:80 -s rr\n' > /etc/ipvsadm.rules
	refuses_daemon start
	refuses_daemon restart
	/etc/init.d/ipvsadm stop
}

# With STRICT a wrong line leaves the table alone, and messages have the file's line numbers.
load_strictly() {
	printf 'AUTO="true"\nSTRICT="true"\n' > /etc/default/ipvsadm
	for rules in '# ipvsadm.rules\n' '\n' ''; do
		printf -- "$rules"'-A -t 192.0.2.1:80 -s rr\n-A -t 192.0.2.2:80 -s rr\n' > /etc/ipvsadm.rules
		for action in start restart reload load; do
			/etc/init.d/ipvsadm "$action" || fail "strictly: $action"
			[ "$(services)" = 2 ] || fail "strictly: $action doesn't load the rules"
		done
	done
	refuses "strictly: a line is wrong" '# ipvsadm.rules' '-A -t 192.0.2.9:80' '-A -t 192.0.2.9:80 --bogus'
	grep -q 'line 3' /tmp/said || fail "strictly: the wrong line isn't named: $(cat /tmp/said)"
	[ "$(services)" = 2 ] || fail "strictly: a wrong line changes the table"
	refuses "strictly: the kernel refuses a line" '-A -t 192.0.2.9:80' '-A -t 192.0.2.9:80'
	: > /etc/ipvsadm.rules
	/etc/init.d/ipvsadm load || fail "strictly: no rules"
	[ "$(services)" = 0 ] || fail "strictly: no rules aren't an empty table"
}

say "Debian's ipvsadm"
dpkg -i "$@"
is_theirs || fail "Debian's ipvsadm isn't the one installed"
use_service Debian

for way in "dpkg -i" "apt-get install -y --no-install-recommends"; do
	say "ours takes its place: $way"
	settings=$(cat /etc/default/ipvsadm)
	# As Debian 13's package does when it is removed.
	echo '[ "$1" != remove ] || chmod -x /etc/init.d/ipvsadm' >> /var/lib/dpkg/info/ipvsadm.postrm
	$way "$ours"
	is_ours || fail "ours isn't the one installed"
	[ "$(dpkg-query -W -f '${db:Status-Status}' ipvsadm)" = config-files ] || fail "both are there"
	[ "$(cat /etc/default/ipvsadm)" = "$settings" ] || fail "the settings changed"
	[ "$(services)" = 1 ] || fail "the service didn't load its rules"
	[ -z "$(dpkg-divert --list '/sbin/ipvsadm*')" ] || fail "diversions are left"
	dpkg --verify ipvsadm-rs | grep . && fail "files of ours aren't as packed"
	ipvsadm --help | grep -q '^Usage:' || fail "no help"
	[ -x /etc/init.d/ipvsadm ] || fail "the init script can't be run"
	for page in ipvsadm ipvsadm-save ipvsadm-restore; do
		[ -x "/usr/sbin/$page" ] || fail "no program $page"
		dpkg -L ipvsadm-rs | grep -qx "/usr/share/man/man8/$page.8.gz" || fail "no page $page"
	done
	for file in bash-completion/completions/ipvsadm zsh/vendor-completions/_ipvsadm \
		fish/vendor_completions.d/ipvsadm.fish; do
		dpkg -L ipvsadm-rs | grep -qx "/usr/share/$file" || fail "no $file"
	done
	use_service ours
	report_failures
	load_strictly
	use_service "ours, again"
	ipvsadm-save -n | grep -q 192.0.2.2:80 || fail "ipvsadm-save"

	say "ours is installed again, as for an upgrade: the table stays"
	dpkg -i "$ours"
	[ "$(services)" = 1 ] || fail "the table changed"

	say "back to Debian's"
	dpkg -r ipvsadm-rs
	[ "$(services)" = 0 ] || fail "removal leaves rules"
	dpkg --force-confold -i "$@"
	is_theirs || fail "Debian's ipvsadm isn't back"
	use_service "Debian, again"
done

say "without Debian's: ours, and nothing is left of it"
dpkg --purge ipvsadm ipvsadm-rs
dpkg -i "$ours"
is_ours || fail "ours isn't the one installed"
grep -q '^AUTO="false"' /etc/default/ipvsadm || fail "no settings"
use_service "ours alone"
dpkg --purge ipvsadm-rs
for left in /etc/init.d/ipvsadm /etc/default/ipvsadm /etc/ipvsadm.rules /usr/sbin/ipvsadm \
	/etc/rc2.d/S*ipvsadm /usr/share/man/man8/ipvsadm.8.gz; do
	[ ! -e "$left" ] || fail "$left is left"
done

say "a dependency on ipvsadm of some version is met"
dpkg -i "$ours"
mkdir -p /tmp/user/DEBIAN
printf 'Package: ipvsadm-user\nVersion: 1\nArchitecture: all\nMaintainer: none <none@localhost>\n' \
	> /tmp/user/DEBIAN/control
printf 'Depends: ipvsadm (>= 1:1.28)\nDescription: needs ipvsadm\n' >> /tmp/user/DEBIAN/control
dpkg-deb --build /tmp/user /tmp/user.deb > /dev/null
dpkg -i /tmp/user.deb || fail "a package that depends on ipvsadm can't be installed"

say "all held"
