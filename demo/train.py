#!/usr/bin/env python3
"""A model railway. Lines that come in drive it, and lines that go out tell how it is:
    wsloop --bridge '/train=shared:exec:demo/train.py'     and http://127.0.0.1:8080/train.html

In:   hello | speed -50…100 | points 1|2 left|right | whistle
Out:  speed N | points N WAY | whistle | no WHY | at SECTION OFFSET VELOCITY, ten times a second"""
import os, select, time

TRACK = [{"left": 386, "right": 360}, {"left": 450}, {"left": 380, "right": 428}, {"left": 460}]
TRAIN = 160  # long; points 1 are before section 0, and points 2 before section 2
way, speed = ["left", "left", "right", "left"], 0
section, offset, velocity = 0, 270.0, 0.0  # where its head is, and how fast

def say(line):
    print(line, flush=True)

def obey(line):
    global speed
    word, *more = line.split() or [""]
    if word == "speed":
        speed = max(-50, min(100, int(more[0])))
    elif word == "points":
        place = {"1": 0, "2": 2}[more[0]]
        if place == section or place == (section - 1) % 4 and offset < TRAIN:
            return say(f"no, points {more[0]} do not move under a train")
        way[place] = more[1] if more[1] in TRACK[place] else way[place]
    elif word == "whistle":
        return say("whistle")
    say(f"speed {speed}\npoints 1 {way[0]}\npoints 2 {way[2]}")
    say(f"at {section} {offset:.1f} {velocity:.1f}")

def move(seconds):
    global section, offset, velocity
    velocity += max(-60 * seconds, min(60 * seconds, speed * 1.5 - velocity))  # it is heavy
    offset += velocity * seconds
    if offset < 0:
        section = (section - 1) % 4
        offset += TRACK[section][way[section]]
    elif offset > TRACK[section][way[section]]:
        offset -= TRACK[section][way[section]]
        section = (section + 1) % 4
    say(f"at {section} {offset:.1f} {velocity:.1f}")

rest, last = b"", time.monotonic()
while True:
    moving = speed != 0 or velocity != 0
    if select.select([0], [], [], max(0, last + 0.1 - time.monotonic()) if moving else None)[0]:
        data = os.read(0, 65536)
        if not data:
            break  # the server has no more to say
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            try:
                obey(line.decode())
            except (ValueError, KeyError, IndexError):
                say("no, that is not how a train is driven")
    now = time.monotonic()
    if not moving:
        last = now
    elif now - last >= 0.1:
        move(min(now - last, 0.5))
        last = now
