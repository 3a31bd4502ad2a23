#!/bin/sh
# What the peers' builds need on Debian: io-engine's bindings want libclang and libaio; fio is a row of its own.
set -eu
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends fio libclang-dev clang libaio-dev liburing-dev
