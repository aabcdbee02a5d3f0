# shellcheck shell=bash
# What the steps that run the reconciler share: they source this.

# Have what a command writes to stdout steer nothing. A runner obeys `::command::` at the beginning of a line, and
# `##[command]` anywhere in it; names in certificates may hold either. It reads stderr beside stdout, in no certain
# order: send that to stdout as well, or into a file.
untrusted() {
  local stop code=0
  stop=$(< /proc/sys/kernel/random/uuid)
  echo "::stop-commands::$stop"
  "$@" || code=$?
  printf '\n::%s::\n' "$stop"
  return "$code"
}

# Export what lines of NAME=value say, once the runner knows to mask the values. A line that is refused is told by its
# number, and never by what is in it. No line replaces what is set already, or changes what programs are run and how.
take_secrets() {
  local line name value number=0 code=0
  while IFS= read -r line; do
    number=$((number + 1))
    [[ $line == *[![:space:]]* ]] || continue
    name=${line%%=*} value=${line#*=}
    [[ $value != *[![:space:]]* ]] || echo "::add-mask::${value//%/%25}"
    case $line in *=*) ;; *) name="" ;; esac
    case $name in
      "" | [!A-Z_]* | *[!A-Z0-9_]*) ;;
      PATH | HOME | ENV | IFS | LD_* | GIT_* | BASH* | PYTHON* | RECONCILER_OPERATOR) ;;
      *) [[ -v $name ]] || { export "$name=$value"; continue; } ;;
    esac
    echo "RECONCILER_SECRETS, line $number: write NAME=value, with a name of A-Z, 0-9 and _ that nothing else uses." >&2
    code=1
  done <<< "${1//$'\r'/}"
  return "$code"
}

# Why there is no plan, as Markdown that fits a comment.
no_plan() {
  printf '%s\n' "There is no plan:" ""
  head -c 60000 < <(sed 's/^/    /' "$1")
}
