#!/bin/sh
# Your own clips, from a folder to a diagnosed model with a fitted decision layer:
#
#     sh examples/own_clips.sh DIR [EPOCHS]
#
# DIR has a folder per class: DIR/CLASS/FILE, or DIR/train/CLASS/FILE and so on. Files of one name are the modalities of
# one sample (a.wav and a.jpg); a clip with sound has two of its own. What is made lies where the script is started:
# clips.csv, stores/clips and runs/clips.
set -eu

mmbal prepare init "$1" --out clips.csv
mmbal prepare clips.csv --out stores/clips --size 64
mmbal train --data stores/clips --method unimodal --fusion sum --encoder cnn --epochs "${2:-20}" --out runs/clips
mmbal diagnose runs/clips
mmbal calibrate runs/clips
mmbal predict runs/clips "$1"
