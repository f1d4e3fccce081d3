#!/bin/sh
# Builds gesture for a board, installs it there over ssh as a systemd service, and says how well its sensor works.
set -eu

usage() {
	cat <<'END'
usage: sh tools/gesture/install.sh [options] USER@BOARD

  --sensor SENSOR    what gesture -sensor reads (default: iio)
  --model FILE       a model of your own
  --args ARGS        more of gesture's arguments, quoted as systemd wants them (default: -json)
  --env FILE         lines NAME=VALUE for its environment, such as MQTT_PASSWORD=sesame; only root can read them on the board
  --tags net         build with -mqtt and -web
  --dry-run          ask the board what it is, print what would be done, and change nothing
  --uninstall        remove all that was installed

The board needs systemd, and USER to be root or to have sudo. SSH and SCP name other commands than ssh and scp; DESTDIR installs below a folder.

  sh tools/gesture/install.sh --sensor mpu6050:1 pi@raspberrypi.local
  sh tools/gesture/install.sh --tags net --env mqtt.env --args '-mqtt tcp://broker/home/gesture' pi@raspberrypi.local
  sh tools/gesture/install.sh --tags net --model my.recur --sensor phone \
    --args '-web :8443 -web-tls -web-cert cert.pem -web-key key.pem' pi@raspberrypi.local
END
}

fail() {
	echo "install.sh: $*" >&2
	exit 1
}

misuse() {
	echo "install.sh: $*; -h explains" >&2
	exit 2
}

here=$(cd "$(dirname "$0")" && pwd)
sensor=iio model='' args=-json env='' tags='' dry='' action=install board=''
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)
		usage
		exit 0
		;;
	--dry-run) dry=yes ;;
	--uninstall) action=uninstall ;;
	--sensor | --model | --args | --env | --tags)
		[ $# -gt 1 ] || misuse "$1 wants a value"
		case $1 in
		--sensor) sensor=$2 ;;
		--model) model=$2 ;;
		--args) args=$2 ;;
		--env) env=$2 ;;
		--tags) tags=$2 ;;
		esac
		shift
		;;
	-*) misuse "no option $1" ;;
	*)
		[ -z "$board" ] || misuse "more than one board: $board and $1"
		board=$1
		;;
	esac
	shift
done
[ -n "$board" ] || misuse "no USER@BOARD"
for file in "$model" "$env"; do
	[ -z "$file" ] || [ -r "$file" ] || fail "cannot read $file"
done
case $sensor$args in *'
'*) misuse "a line break in --sensor or --args" ;; esac

# quote makes one word for a shell of any text.
quote() { printf "'%s'" "$(printf %s "$1" | sed "s/'/'\\\\''/g")"; }

# SSH and SCP can have arguments of their own.
# shellcheck disable=SC2086
on_board() { ${SSH:-ssh} $terminal "$board" "$@"; }
# shellcheck disable=SC2086
copy() { ${SCP:-scp} -q "$@"; }
terminal=''

machine=$(on_board uname -sm) || fail "cannot ask $board what it is"
goarm=''
case $machine in
'Linux aarch64' | 'Linux arm64') goarch=arm64 ;;
'Linux armv7'* | 'Linux armv8'*) goarch=arm goarm=7 ;;
'Linux armv6'*) goarch=arm goarm=6 ;;
'Linux x86_64') goarch=amd64 ;;
'Linux riscv64') goarch=riscv64 ;;
*) fail "$board is $machine: no program is built for that" ;;
esac

work=$(mktemp -d)
far=''
cleanup() {
	rm -rf "$work"
	[ -z "$far" ] || on_board "rm -rf $(quote "$far")" </dev/null || true
}
trap cleanup EXIT
trap 'exit 1' HUP INT TERM

# systemd takes % and $ for its own, and splits at spaces outside quotes.
sensor_arg=$(printf %s "$sensor" | sed 's/["\\]/\\&/g; s/[%$]/&&/g')
all="-sensor \"$sensor_arg\" $(printf %s "$args" | sed 's/[%$]/&&/g')"
[ -z "$model" ] || all="-model /etc/gesture/model.recur $all"

# & and | have a meaning on the right side of sed's s.
line=$(printf %s "ExecStart=/usr/local/bin/gesture $all" | sed 's/[\\&|]/\\&/g')
sed "s|^ExecStart=.*|$line|" "$here/gesture.service" >"$work/gesture.service"
cp "$here/99-gesture-iio.rules" "$work/rules"

cat >"$work/settings" <<END
action=$action
sensor=$(quote "$sensor")
root=$(quote "${DESTDIR:-}")
END

cat >"$work/board.sh" <<'BOARD'
set -eu
cd "$(dirname "$0")"
. ./settings
if [ "$(id -u)" = 0 ]; then sudo=''; else sudo=sudo; fi
bin=$root/usr/local/bin/gesture
unit=$root/etc/systemd/system/gesture.service
rules=$root/etc/udev/rules.d/99-gesture-iio.rules
etc=$root/etc/gesture
command -v systemctl >/dev/null || { echo 'install.sh: the board has no systemd' >&2; exit 1; }

# put replaces a file as a whole.
put() { # FROM TO MODE
	$sudo mkdir -p "$(dirname "$2")"
	$sudo cp "$1" "$2.new"
	$sudo chmod "$3" "$2.new"
	$sudo mv -f "$2.new" "$2"
}

reload_rules() {
	command -v udevadm >/dev/null || return 0
	$sudo udevadm control --reload || true
	$sudo udevadm trigger --subsystem-match=iio || true
}

if [ "$action" = uninstall ]; then
	$sudo systemctl disable --now gesture.service 2>/dev/null || true
	$sudo rm -f "$bin" "$unit" "$rules"
	$sudo rm -rf "$etc" "$root/var/lib/gesture" "$root/var/lib/private/gesture"
	$sudo systemctl daemon-reload
	reload_rules
	echo 'gesture is removed'
	exit 0
fi

sha256sum -c --quiet sums || { echo 'install.sh: the copy is damaged; nothing is changed' >&2; exit 1; }
# A unit with a group that is not there does not start.
groups=''
for g in i2c dialout plugdev iio; do
	if getent group "$g" >/dev/null; then groups="$groups $g"; fi
done
sed "s/@GROUPS@/${groups# }/" gesture.service >unit
$sudo systemctl stop gesture.service 2>/dev/null || true # it holds the sensor
put gesture "$bin" 755
if [ -f model.recur ]; then put model.recur "$etc/model.recur" 644; else $sudo rm -f "$etc/model.recur"; fi
if [ -f environment ]; then put environment "$etc/environment" 600; fi
case $sensor in
iio*)
	put rules "$rules" 644
	reload_rules
	;;
esac
put unit "$unit" 644

case $sensor in
phone | *:-) ;;
*)
	echo 'gesture doctor, with the sensor still:'
	if [ -f model.recur ]; then
		$sudo "$bin" doctor -sensor "$sensor" -model "$etc/model.recur" || true
	else
		$sudo "$bin" doctor -sensor "$sensor" || true
	fi
	;;
esac

$sudo systemctl daemon-reload
$sudo systemctl enable gesture.service
$sudo systemctl restart gesture.service
sleep 2
if ! $sudo systemctl is-active --quiet gesture.service; then
	$sudo journalctl -u gesture.service -n 10 --no-pager >&2 || true
	echo 'install.sh: gesture is installed and does not run; above is why' >&2
	exit 1
fi
echo 'gesture runs; journalctl -fu gesture shows what it finds'
BOARD

if [ -n "$dry" ]; then
	echo "$board is $machine: GOARCH=$goarch${goarm:+ GOARM=$goarm}"
	if [ "$action" = uninstall ]; then
		echo "would stop the service and remove ${DESTDIR:-}/usr/local/bin/gesture, its unit, its udev rule, /etc/gesture and /var/lib/gesture"
		exit 0
	fi
	echo "would build gesture${tags:+ with -tags $tags}, copy it to ${DESTDIR:-}/usr/local/bin/gesture, and install and start this service:"
	sed 's/^/  /' "$work/gesture.service"
	exit 0
fi

if [ "$action" = install ]; then
	echo "building for $goarch${goarm:+ GOARM=$goarm}"
	(cd "$here" && CGO_ENABLED=0 GOOS=linux GOARCH=$goarch GOARM=$goarm \
		go build -trimpath -ldflags='-s -w' -tags "$tags" -o "$work/gesture" .) || fail 'the build failed'
	[ -z "$model" ] || cp "$model" "$work/model.recur"
	[ -z "$env" ] || cp "$env" "$work/environment"
	sums=$(cd "$work" && sha256sum -- *)
	printf '%s\n' "$sums" >"$work/sums"
fi
far=$(on_board 'umask 077; mktemp -d') || fail "cannot write on $board"
chmod 600 "$work"/*
copy "$work"/* "$board:$far/" || fail 'the copy failed; nothing is changed'
if [ -t 0 ]; then terminal=-t; fi # sudo can then ask for a password
on_board "sh $(quote "$far/board.sh")" || exit 1
