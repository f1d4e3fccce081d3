#!/bin/sh
# Makes mot.recur, which is embedded, of what tools/train/mot/filter.py and export.py wrote to DIR/filter, and in DIR float.recur, the same in float32.
# Where DIR/paper and DIR/lstm are, it makes DIR/paper.recur and DIR/lstm.recur, the networks of Milan et al., too.
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

convert filter "$target/mot.recur" w8a16 -range 1 -meta "mot.config=$(cat tools/train/mot/tracker.json)"
convert filter "$dir/float.recur" f32 -meta "mot.config=$(cat tools/train/mot/tracker.json)"
if [ -e "$dir/paper/model.onnx" ]; then
    convert paper "$dir/paper.recur" w8a16 -calib "$dir/paper/calib.npz" -meta "mot.config=$(cat tools/train/mot/paper.json)"
fi
if [ -e "$dir/lstm/model.onnx" ]; then
    convert lstm "$dir/lstm.recur" w8a16 -range 1 -meta mot.scale=5
fi
