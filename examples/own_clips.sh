#!/bin/sh
# Your own clips, from files to a diagnosed model with a fitted decision layer:
#
#     sh examples/own_clips.sh CLIPS.csv [EPOCHS]
#     sh examples/own_clips.sh DIR [EPOCHS]
#
# CLIPS.csv has the columns path and label, and where you have them split, start and end (seconds): see docs/data.md. DIR has
# a folder for each class instead: DIR/CLASS/FILE, or DIR/train/CLASS/FILE and so on. Files of one name are the modalities of
# one sample (a.wav and a.jpg); a clip with sound has two of its own. The results lie where the script is started: stores/clips
# and runs/clips, and for a DIR also clips.csv.
#
# The settings suit a few hundred short clips on a CPU: small pictures, coarse spectrograms, a small network, and many epochs
# with strong weight decay. 200 clips of 3 seconds take about two minutes. With thousands of clips leave them out.
set -eu

clips=$1
if [ -d "$1" ]; then
    clips=clips.csv
    mmbal prepare init "$1" --out "$clips"
fi
mmbal prepare "$clips" --out stores/clips --size 32 --mels 40 --hop 320
mmbal train --data stores/clips --method unimodal --fusion sum --encoder cnn --epochs "${2:-60}" --batch-size 8 \
    --lr 0.002 --set optimiser.name=adamw --set optimiser.weight_decay=0.1 --out runs/clips

# The verdict says first where the model has not learned, and how many samples would show more.
mmbal diagnose runs/clips
mmbal calibrate runs/clips
if [ -d "$1" ]; then
    mmbal predict runs/clips "$1"
else
    echo "To classify a new clip: mmbal predict runs/clips FILE [--start SECONDS --end SECONDS]"
fi
