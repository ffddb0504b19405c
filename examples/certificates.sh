# Sourced by the `generate` scripts of examples: certificates FOR TESTS ONLY, whose keys are public.
# Works in the folder $work, which goes away.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
curve="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc"

# authority NAME FILE: an authority; its key stays in $work.
authority() {
  openssl req -x509 $curve -days 36500 -subj "/CN=Sluice examples, $1, for tests only" \
    -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign \
    -keyout "$work/$1.key" -out "$2" 2>/dev/null
  cp "$2" "$work/$1.crt"
}

# leaf AUTHORITY FOLDER SUBJECT USAGE ALTERNATIVE-NAMES: FOLDER/tls.crt and FOLDER/tls.key.
leaf() {
  mkdir -p "$2"
  openssl req $curve -subj "$3" -keyout "$2/tls.key" -out "$work/request" 2>/dev/null
  printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' \
    "extendedKeyUsage=$4" "subjectAltName=$5" > "$work/extensions"
  openssl x509 -req -in "$work/request" -CA "$work/$1.crt" -CAkey "$work/$1.key" -days 36500 \
    -set_serial "0x$(openssl rand -hex 8)" -extfile "$work/extensions" -out "$2/tls.crt" 2>/dev/null
}

# secret FOLDER NAMESPACE NAME FILE: what leaf made, as a Secret.
secret() {
  cat > "$4" <<EOF
# FOR TESTS ONLY: this private key is public. Made by ./generate.
apiVersion: v1
kind: Secret
metadata: {namespace: $2, name: $3}
type: kubernetes.io/tls
data:
  tls.crt: $(base64 -w0 < "$1/tls.crt")
  tls.key: $(base64 -w0 < "$1/tls.key")
EOF
}

# bundle FILE NAMESPACE NAME OUTPUT: an authority as a ConfigMap.
bundle() {
  {
    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: %s, name: %s}\ndata:\n  ca.crt: |\n' "$2" "$3"
    sed 's/^/    /' "$1"
  } > "$4"
}
