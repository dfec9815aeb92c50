# SPDX-License-Identifier: LGPL-2.1-or-later
# Fills org.fdld.Fdld1(5): interfaces from dbus/*.xml (a comment before a member is its text), actions from actions.def, which method needs
# which from methods.c, errors from errors.def. The template comes last.
function roff(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); gsub(/'/, "\\(aq", s); gsub(/µ/, "\\[mc]", s); gsub(/…/, "...", s); gsub(/→/, "\\->", s); gsub(/\n\./, "\n\\\\\\&.", s); return s }
function attribute(name,    s) {
	if (!match($0, "[ \t]" name "=\"[^\"]*\"")) return ""
	s = substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 4)
	gsub(/&lt;/, "<", s); gsub(/&gt;/, ">", s); gsub(/&amp;/, "\\&", s)
	return s
}
function clean(s) { gsub(/[ \t]+/, " ", s); gsub(/\n /, "\n", s); sub(/^[ \n]+/, "", s); sub(/[ \n]+$/, "", s); return s }
function member_end(   a, bare) {
	if (kind == "") return
	a = (kind == "method") ? action[object[interface] " " name] : ""
	bare = text == "" && a == ""
	if (bare && bare_before) out = out ".br\n"
	else out = out (bare ? ".PP\n" : ".TP\n")
	bare_before = bare
	if (kind == "property") out = out "\\fB" name "\\fR " type (access == "read" ? "" : ", " access) (emits == "const" ? ", constant" : emits == "invalidates" ? ", invalidated when it changes" : emits == "false" ? ", not told" : "") "\n"
	else out = out "\\fB" name "\\fR (" ins ")" (outs == "" ? "" : " \\(-> (" outs ")") "\n"
	out = out (text == "" ? "" : roff(text) "\n")
	if (a != "") out = out (text == "" ? "" : ".br\n") "Needs \\fB" roff(word[a]) "\\fR.\n"
	kind = ""; text = ""
}
FNR == 1 { source = FILENAME; sub(/^.*\//, "", source) }
source == "actions.def" {
	if ($0 ~ /^ACTION\(/) {
		id = $0; sub(/^ACTION\(/, "", id); sub(/,.*/, "", id)
		split($0, q, "\"")
		word[id] = q[2]
		actions = actions ".TP\n\\fB" roff(q[2]) "\\fR\n" roff(q[10]) ".\n"
	}
	next
}
source == "methods.c" {
	if (match($0, /\{OBJECT_[A-Z]+, "[A-Za-z]+", ACTION_[A-Z_]+/)) {
		row = substr($0, RSTART + 1, RLENGTH - 1)
		split(row, q, /[ ,"]+/)
		if (q[3] != "ACTION_NONE") { sub(/^ACTION_/, "", q[3]); action[q[1] " " q[2]] = q[3] }
	}
	next
}
source == "objects.c" {
	if (match($0, /\[OBJECT_[A-Z]+\] = \{[A-Z_]+( "[^"]*")?, BUS_NAME "\.[A-Za-z]+"/)) {
		row = substr($0, RSTART, RLENGTH)
		kind_of = row; sub(/^\[/, "", kind_of); sub(/\].*/, "", kind_of)
		sub(/.*BUS_NAME "\./, "", row); sub(/"/, "", row)
		object["org.fdld.Fdld1." row] = kind_of
	}
	next
}
source == "errors.def" {
	if ($0 ~ /^BUS_ERROR\(/) {
		split($0, q, "\"")
		errors = errors ".TP\n\\fBorg.fdld.Fdld1.Error." q[2] "\\fR\n" roff(q[4]) "\n"
	} else if ($0 ~ /^CLASS_NAME\(/) {
		split($0, q, "\"")
		classes = classes ".TP\n\\fBorg.fdld.Fdld1.Error." q[4] "\\fR\nOf a failed job, class \\fB" q[2] "\\fR.\n"
	}
	next
}
source ~ /\.xml$/ {
	line = $0
	if (!comment && line ~ /<!--/ && line !~ /SPDX/) { comment = 1; text = ""; sub(/^.*<!--/, "", line) }
	if (comment) {
		done = line ~ /-->/
		sub(/-->.*/, "", line)
		text = clean(text "\n" line)
		if (done) comment = 0
		next
	}
	if (/<node>/) next
	if (/<interface /) {
		interface = attribute("name")
		if (!(interface in object)) object[interface] = "OBJECT_STATION"
		out = out ".SH \"INTERFACE " interface "\"\n" (text == "" ? node_text == "" ? "" : roff(node_text) "\n" : roff(text) "\n")
		text = ""; section = ""; next
	}
	if (match($0, /<(method|signal|property) /)) {
		k = substr($0, RSTART + 1, RLENGTH - 2)
		if (k != section) { out = out ".SS " (k == "method" ? "Methods" : k == "signal" ? "Signals" : "Properties") "\n"; section = k; bare_before = 0 }
		kind = k; name = attribute("name"); type = attribute("type"); access = attribute("access"); ins = outs = ""; emits = "true"
		if (/\/>/) member_end()
		next
	}
	if (/<arg /) {
		a = attribute("type") " \\fI" roff(attribute("name")) "\\fR"
		if (attribute("direction") == "out") outs = outs (outs == "" ? "" : ", ") a
		else ins = ins (ins == "" ? "" : ", ") a
		next
	}
	if (/EmitsChangedSignal/) { emits = attribute("value"); next }
	if (/<\/(method|signal|property)>/) member_end()
	next
}
/^@ACTIONS@$/ { printf "%s", actions; next }
/^@INTERFACES@$/ { printf "%s", out; next }
/^@ERRORS@$/ { printf "%s%s", errors, classes; next }
{ print }
