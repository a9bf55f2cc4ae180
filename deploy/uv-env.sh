# Sourced with $python set. uv does not read pip's configuration, so what pip was told (find-links, indexes,
# certificate; by file or by variable) is exported under uv's names. What the user set for uv wins.

configured() { # NAME VALUE_OF_THE_VARIABLE: pip's setting on one line
  if [ -n "$2" ]; then
    printf '%s' "$2"
  else
    { "$python" -m pip config get "global.$1" || "$python" -m pip config get "install.$1" || true; } 2>/dev/null |
      tr '\n' ' ' | sed 's/^ *//; s/ *$//'
  fi
}

hand_over() { # UV_VARIABLE VALUE
  if [ -n "$2" ] && [ -z "${!1:-}" ]; then export "$1=$2"; fi
}

hand_over UV_FIND_LINKS "$(configured find-links "${PIP_FIND_LINKS:-}" | tr -s ' ' ',')"
hand_over UV_DEFAULT_INDEX "$(configured index-url "${PIP_INDEX_URL:-}")"
hand_over UV_INDEX "$(configured extra-index-url "${PIP_EXTRA_INDEX_URL:-}")"
# pip looks at all its indexes together; uv stops at the first that knows the name unless told otherwise.
if [ -n "${UV_INDEX:-}" ]; then hand_over UV_INDEX_STRATEGY unsafe-best-match; fi
hand_over SSL_CERT_FILE "$(configured cert "${PIP_CERT:-}")"
hand_over UV_SYSTEM_CERTS true # as pip does: a company's own certificate authority is in the system's store
