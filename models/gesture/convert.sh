#!/bin/sh
# Makes the embedded models from what tools/train/gesture/train.py wrote to DIR/blstm and DIR/stream.
#
#     models/gesture/convert.sh [DIR [TARGET [SCHEME]]]
#
# The data set is in $DATA, or ../shared/data/mobrobot_gestures. DIR is out, TARGET the folder of this script, SCHEME w8a8 unless given.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$(cd "${1:-out}" && pwd)
target=$(cd "${2:-$here}" && pwd)
scheme=${3:-w8a8}
cd "$here/../.."

convert() { # NAME LABELS FLAGS…
    name=$1 labels=$2
    shift 2
    go run ./tools/recur convert "$dir/$name/model.onnx" -o "$target/$name.recur" -scheme "$scheme" -calib "$dir/$name/calib.npz" \
        -rate 62.5 -labels "$labels" -channels aWx,aWy,aWz,gWx,gWz,aFx,aFy,aFz,gFx,gFz \
        -units counts,counts,counts,counts,counts,counts,counts,counts,counts,counts \
        -meta "gesture.unit=64 64 64 8 8 128 128 128 16 32" -meta gesture.clip=4 \
        -meta "data=mobrobot_gestures, subjects 1-14 (Stancic, Music, Grujic 2017)" -meta "licence=CC BY-NC-SA 4.0" "$@"
}

convert blstm G1,G2,G3,G4,G5,G6,G7,G8,G9 -meta gesture.rest_rows=4

set -- # the spotter's constants: {"alpha": 0.00390625, …}, one a line
for constant in $(sed -n 's/^ *"\([a-z_]*\)": *\([-+.0-9e]*\),*$/\1=\2/p' "$dir/stream/spotter.json"); do
    set -- "$@" -meta "gesture.$constant"
done
convert stream G1,G2,G3,G4,G5,G6,G7,G8,G9,none -meta gesture.none=none "$@"

# What teaching wants to know of the stream model's gestures, from the training subjects.
examples=$(mktemp)
trap 'rm -f "$examples"' EXIT
go run ./tools/gesture/eval -examples "$examples" -subjects 1-14 -data "${DATA:-../shared/data/mobrobot_gestures}"
go run ./tools/gesture teach -remember -data "$examples" -base "$target/stream.recur" -o "$target/stream.recur"
