# SPDX-License-Identifier: LGPL-2.1-or-later
# Fills @SETTINGS@ of fdld.conf(5) from systemd/fdld.conf, which is read first: comments are the text, "#Key=value" or "# Key=value"
# settings, "[Section]" or "# [Section]" sections.
function roff(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); gsub(/'/, "\\(aq", s); return s }
# Settings that follow each other share the text before them.
function flush() {
	if (tags != "") out = out tags (tag_text == "" ? "\\&" : roff(tag_text)) "\n"
	tags = ""; tag_text = ""
}
FNR == 1 { file++; if (file == 2) flush() }
file == 1 && FNR == 1 { next }
file == 1 && /^#? ?\[/ {
	flush()
	name = $0; sub(/^#? ?\[/, "", name); sub(/\].*$/, "", name); sub(/ .*/, " \\fIPORT\\fR", name)
	out = out ".SS [" name "]\n" (started && text != "" ? roff(text) "\n" : "")
	text = ""; started = 1; next
}
file == 1 && /^# ?[A-Z][A-Za-z0-9]*=/ && started {
	line = $0; sub(/^# ?/, "", line)
	key = line; sub(/=.*/, "=", key); value = line; sub(/^[^=]*=/, "", value)
	if (text != "") { flush(); tag_text = text; text = "" }
	tags = tags (tags == "" ? ".TP\n" : ".TQ\n") "\\fB" key "\\fR" roff(value) "\n"
	next
}
file == 1 && /^#/ {
	flush()
	line = $0; sub(/^# ?/, "", line)
	text = (text == "" ? "" : text "\n") line; next
}
file == 1 { flush(); if (text != "" && started) out = out roff(text) "\n"; text = ""; next }
/^@SETTINGS@$/ { printf "%s", out; next }
{ print }
