#!/bin/sh
# Makes the sample utterances in this folder: synthetic speech, 16 kHz, mono, 16 bits.
# Needs espeak-ng and sox; made with espeak-ng 1.51 and SoX 14.4.2 (Debian 12).
set -eu
cd "$(dirname "$0")"

# speak FILE VOICE PITCH(0-99) SPEED(words a minute) AMPLITUDE(0-200) TEXT
speak() {
    espeak-ng -v "$2" -p "$3" -s "$4" -a "$5" --stdout "$6" |
        sox -R -t wav - -b 16 -c 1 "$1" gain -6 rate -v 16000 norm -3
}

speak hello.wav   en-gb+f3  60 150 100 "Hello! It is so good to hear your voice again."
speak station.wav en-us+m3  30 150 100 "The next train leaves from platform number seven."
speak leave.wav   en-gb+m7  70 200 100 "No! I told you to leave it alone, and I meant it!"
speak rain.wav    en-us+f4  20 125  60 "It has rained here all day long."

ls -l ./*.wav
