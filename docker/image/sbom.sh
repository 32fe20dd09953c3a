#!/bin/sh
# sbom.sh LOCK: what an image is made of, as CycloneDX 1.5, on standard output.
#
# Crates are those that the medisync package reaches in the lock file, its test crates included: the
# file does not tell them apart. Of the distribution, the packages whose files are in the image. No
# time and no serial number are in it, so the same sources give the same list.
set -eu
lock=$1

distribution() {
  command -v dpkg-query > /dev/null || return 0
  # shellcheck disable=SC2016  # dpkg-query's own names
  dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\n' \
    libc6 libgcc-s1 ca-certificates tzdata 2> /dev/null || true
}

{ distribution | sed 's/^/debian /'; cat "$lock"; } | awk '
  function unquoted(text) { gsub(/^[^"]*"|"[^"]*$/, "", text); return text }
  function id(name, version) { return "pkg:cargo/" name "@" version }
  function component(kind, name, version, purl, hash) {
    printf "%s\n    {\"type\": \"%s\", \"bom-ref\": \"%s\", \"name\": \"%s\", \"version\": \"%s\", ",
      separator, kind, purl, name, version
    if (hash != "") printf "\"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"%s\"}], ", hash
    printf "\"purl\": \"%s\"}", purl
    separator = ","
  }
  # A dependency is written as a name, and with the version where there are several.
  function resolve(text,  parts, n) {
    n = split(text, parts, " ")
    return n > 1 ? id(parts[1], parts[2]) : id(parts[1], version_of[parts[1]])
  }
  function reach(purl,  list, n, i) {
    if (purl in reached) return
    reached[purl] = 1
    n = split(needs[purl], list, "\n")
    for (i = 1; i <= n; i++) if (list[i] != "") reach(resolve(list[i]))
  }
  $1 == "debian" { packages[++debian] = $2 " " $3 " " $4; next }
  /^\[\[package\]\]/ { name = ""; listing = 0 }
  /^name = / { name = unquoted($0) }
  /^version = / && name != "" {
    version = unquoted($0); purl = id(name, version)
    order[++crates] = purl; name_of[purl] = name; at[purl] = version; version_of[name] = version
  }
  /^checksum = / { hash_of[purl] = unquoted($0) }
  /^dependencies = \[/ { listing = 1; next }
  /^\]/ { listing = 0 }
  listing { needs[purl] = needs[purl] "\n" unquoted($0) }
  END {
    root = id("medisync", version_of["medisync"])
    reach(root)
    print "{\n  \"bomFormat\": \"CycloneDX\",\n  \"specVersion\": \"1.5\",\n  \"version\": 1,"
    print "  \"metadata\": {\"component\": {\"type\": \"application\", \"bom-ref\": \"" root \
      "\", \"name\": \"medisync\", \"version\": \"" at[root] "\", \"purl\": \"" root "\"}},"
    printf "  \"components\": ["
    for (i = 1; i <= crates; i++) {
      purl = order[i]
      if (purl != root && purl in reached)
        component("library", name_of[purl], at[purl], purl, hash_of[purl])
    }
    for (i = 1; i <= debian; i++) {
      split(packages[i], part, " ")
      component("library", part[1], part[2],
        "pkg:deb/debian/" part[1] "@" part[2] "?arch=" part[3], "")
    }
    print "\n  ],"
    printf "  \"dependencies\": ["
    comma = ""
    for (i = 1; i <= crates; i++) {
      purl = order[i]
      if (!(purl in reached)) continue
      printf "%s\n    {\"ref\": \"%s\", \"dependsOn\": [", comma, purl
      comma = ","; inner = ""; delete seen
      n = split(needs[purl], list, "\n")
      for (j = 1; j <= n; j++) {
        if (list[j] == "" || (dependency = resolve(list[j])) in seen) continue
        seen[dependency] = 1
        printf "%s\"%s\"", inner, dependency
        inner = ", "
      }
      printf "]}"
    }
    print "\n  ]\n}"
  }'
