#!/bin/sh
# Makes the embedded models and the demo's curves from the data set mobrobot_gestures.
#
#     PYTHON=venv/bin/python models/gesture/fit.sh [DIR]
#
# The data set is in $DATA, or ../shared/data/mobrobot_gestures. DIR, out/embedded unless given, holds what is made on the way; DIR/float has
# the models in float, for tools/gesture/eval -against. tools/train/gesture/requirements.txt lists what Python needs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
python=${PYTHON:-python3}
data=${DATA:-../shared/data/mobrobot_gestures}
dir=${1:-out/embedded}
train=tools/train/gesture
learnt=1,2,3,4,5,6,7,8,9,10,11,12,13,14

mkdir -p "$dir/float"
go build -o "$dir/recur" ./tools/recur
"$python" $train/to_layout.py finger "$data" "$dir/data"
"$python" $train/curves.py --data "$dir/data" --rate 31.25 --subjects $learnt --out "$here/demo/curves.json"
go generate ./models/gesture/demo
"$python" $train/fit.py --data "$dir/data" --rate 31.25 --nets stream,two-way --validation 12,13,14 --test 15,16,17,18,19,20 \
    --epochs 100 --out "$dir" --recur "$dir/recur"
cp "$dir/stream/f32.recur" "$dir/float/stream.recur"
cp "$dir/two-way/f32.recur" "$dir/float/blstm.recur"
cp "$dir/two-way.recur" "$here/blstm.recur"

# What teaching wants to know of the stream model's gestures, from the training subjects.
"$python" $train/examples.py --data "$dir/data" --rate 31.25 --subjects $learnt --out "$dir/known.csv"
go run ./tools/gesture teach -remember -data "$dir/known.csv" -base "$dir/stream.recur" -o "$here/stream.recur"
