#!/bin/bash
# Videos for crop.py, about 2 GB, 5 minutes on 2 cores. Needs the ffmpeg binary. Usage: make_videos.sh DIRECTORY
# Twenty seconds of fractal, test card with noise, and cellular automaton, looped; the long files repeat one
# encoded segment by stream copy, because decoding cost does not depend on what was shown before.
set -eu
mkdir -p "$1" && cd "$1"
ff() { ffmpeg -nostdin -hide_banner -loglevel error -y -threads 1 "$@"; }

scene() { # size file
  [ -s "$2" ] || ff -f lavfi -i "mandelbrot=s=960x540:maxiter=150:rate=30:end_scale=0.02:end_pts=900" \
    -f lavfi -i "testsrc2=s=960x540:r=30" \
    -f lavfi -i "life=s=480x270:r=30:mold=10:ratio=0.3:death_color=#4060A0:life_color=#E0C080" -filter_complex \
    "[0:v]trim=duration=7,scale=$1,setsar=1,format=yuv420p[a];[1:v]trim=duration=7,scale=$1,setsar=1,format=yuv420p,\
noise=alls=6:allf=t[b];[2:v]trim=duration=6,scale=$1,setsar=1,format=yuv420p,gblur=sigma=2[c];[a][b][c]concat=n=3:v=1[v]" \
    -map "[v]" -f rawvideo "$2"
}

encode() { # size fps raw seconds file options
  local size=$1 fps=$2 raw=$3 seconds=$4 file=$5; shift 5
  [ -s "$file" ] || ff -f rawvideo -pix_fmt yuv420p -s "$size" -r "$fps" -stream_loop -1 -i "$raw" -t "$seconds" \
    -c:v libx264 -pix_fmt yuv420p "$@" -movflags +faststart "$file"
}

repeat() { # segment times file
  [ -s "$3" ] && return
  for _ in $(seq "$2"); do echo "file '$PWD/$1'"; done > list.txt
  ff -f concat -safe 0 -i list.txt -c copy -movflags +faststart "$3"
}

scene 640:360 360.yuv
scene 1280:720 720.yuv
scene 1920:1080 1080.yuv
encode 640x360 30 360.yuv 600 h264_360_10m.mp4 -preset superfast -crf 26 -g 250
encode 1280x720 25 720.yuv 180 h264_720_3m.mp4 -preset ultrafast -bf 2 -coder 1 -crf 28 -g 250 -sc_threshold 0
encode 1920x1080 30 1080.yuv 100 h264_1080_100s.mp4 -preset ultrafast -bf 2 -coder 1 -crf 28 -g 150
repeat h264_360_10m.mp4 6 h264_360_60m.mp4
repeat h264_720_3m.mp4 10 h264_720_30m.mp4
repeat h264_1080_100s.mp4 6 h264_1080_10m.mp4
rm -f list.txt ./*.yuv
