#!/bin/sh
# Makes the embedded models of what tools/train/mot wrote to DIR/filter, DIR/paper and DIR/lstm (those that are there), and in DIR float.recur and
# paper-float.recur, two of them in float32.
#
#     models/mot/convert.sh [DIR [TARGET]]
#
# DIR is out, TARGET the folder of this script unless given.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$(cd "${1:-out}" && pwd)
target=$(cd "${2:-$here}" && pwd)
cd "$here/../.."

convert() { # NAME OUT SCHEME FLAGS…
    name=$1 out=$2 scheme=$3
    shift 3
    go run ./tools/recur convert "$dir/$name/model.onnx" -o "$out" -scheme "$scheme" \
        -meta "data=MOTChallenge 2015: TUD-Stadtmitte, ETH-Bahnhof, ADL-Rundle-6, KITTI-13, PETS09-S2L1 (Leal-Taixe et al. 2015)" \
        -meta "licence=CC BY-NC-SA 3.0" "$@"
}

has() { [ -e "$dir/$1/model.onnx" ]; }

if has filter; then
    settings=$(cat tools/train/mot/tracker.json)
    convert filter "$target/mot.recur" w8a16 -range 1 -meta "mot.config=$settings"
    convert filter "$dir/float.recur" f32 -meta "mot.config=$settings"
fi
if has paper; then
    settings=$(cat tools/train/mot/paper.json)
    convert paper "$target/paper.recur" w8a16 -calib "$dir/paper/calib.npz" -meta "mot.config=$settings"
    convert paper "$dir/paper-float.recur" f32 -meta "mot.config=$settings"
fi
if has lstm; then
    convert lstm "$target/lstm.recur" w8a16 -range 1 -meta mot.scale=5
fi
