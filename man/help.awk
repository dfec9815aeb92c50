# SPDX-License-Identifier: LGPL-2.1-or-later
# Fills @VERBS@ and @OPTIONS@ of a manual page (or completion) from "fdlctl --help", which is read first. `form`: roff, bash, zsh, fish.
# In the help a verb's line has two blanks, its name and arguments, and the text from column 28 on; an option's stands under "Options:".
function roff(s) { gsub(/\\/, "\\e", s); gsub(/-/, "\\-", s); gsub(/'/, "\\(aq", s); gsub(/…/, "...", s); return s }
function quote(s) { gsub(/'/, "'\\''", s); return s }
# What can be offered for an argument.
function words_for(a) {
	if (a ~ /SLOT/) return "slots"
	if (a ~ /JOB/) return "jobs"
	if (a ~ /DEVICE/) return "devices"
	if (a ~ /PROFILE/) return "profiles"
	if (a ~ /BATCH/) return "batches"
	if (a ~ /CODE/) return "codes"
	if (a ~ /OBJECT/) return "objects"
	if (a ~ /PACKAGE/ && a ~ /FILE/) return "packages files"
	if (a ~ /PACKAGE/) return "packages"
	if (a ~ /FILE|PATH/) return "files"
	return ""
}
# The words that an option's value may be, if its help lists them: "upgrade (default), factory, research".
function words_of(h) {
	if (h !~ /^[a-z-]+( \(default\))?(,| or) [a-z-]+/) return ""
	sub(/[;.].*$/, "", h); gsub(/ \(default\)/, "", h); gsub(/,? or /, " ", h); gsub(/, */, " ", h)
	return h ~ /^[a-z -]+$/ ? h : ""
}
FNR == 1 { file++ }
file == 1 {
	if ($0 ~ /^Options:$/) { part = "options"; next }
	if ($0 ~ /^Exit codes:/) part = ""
	if ($0 ~ /^[A-Z].*:$/ && part != "options") { part = "verbs"; group = $0; sub(/:$/, "", group); next }
	if ($0 ~ /^[^ ]/ || $0 == "") next
	# What is too long for its column has its text on the next line.
	if (match($0, /^                    /)) {
		sub(/^ +/, "")
		if (part == "verbs" && help[n_verbs] == "") help[n_verbs] = $0
		if (part == "options" && option_help[n_options] == "") option_help[n_options] = $0
		next
	}
	if (part == "verbs" && match($0, /^  [a-z][a-z-]*/)) {
		n_verbs++
		verb[n_verbs] = $1
		left = substr($0, 3)
		text = ""
		if (match(left, /  +/)) { text = substr(left, RSTART + RLENGTH); left = substr(left, 1, RSTART - 1) }
		sub(/^[a-z-]+ ?/, "", left)
		arguments[n_verbs] = left; help[n_verbs] = text; group_of[n_verbs] = group
		next
	}
	if (part == "options" && match($0, /--[a-z][a-z-]*/)) {
		n_options++
		option[n_options] = substr($0, RSTART, RLENGTH)
		rest = substr($0, RSTART + RLENGTH)
		value[n_options] = ""
		if (substr(rest, 1, 1) == "=") { value[n_options] = rest; sub(/^=/, "", value[n_options]); sub(/ .*$/, "", value[n_options]); sub(/^=[^ ]*/, "", rest) }
		letter[n_options] = match($0, /^  -[a-zA-Z] /) ? substr($0, 3, 2) : ""
		sub(/^ +/, "", rest)
		option_help[n_options] = rest
	}
	next
}
/^@VERBS@$/ && form == "roff" {
	last = ""
	for (i = 1; i <= n_verbs; i++) {
		if (group_of[i] != last) printf ".SS %s\n", roff(group_of[i])
		last = group_of[i]
		a = roff(arguments[i]); gsub(/[A-Z][A-Z]+/, "\\fI&\\fR", a)
		printf ".TP\n\\fB%s\\fR%s%s\n%s.\n", roff(verb[i]), (a == "" ? "" : " "), a, roff(help[i])
	}
	next
}
/^@OPTIONS@$/ && form == "roff" {
	for (i = 1; i <= n_options; i++)
		printf ".TP\n%s\\fB%s\\fR%s\n%s.\n", (letter[i] == "" ? "" : "\\fB" roff(letter[i]) "\\fR, "), roff(option[i]),
			(value[i] == "" ? "" : "=\\fI" roff(value[i]) "\\fR"), roff(option_help[i])
	next
}
/^@VERBS@$/ && form == "bash" {
	for (i = 1; i <= n_verbs; i++) printf "        [%s]='%s'\n", verb[i], words_for(arguments[i])
	next
}
/^@OPTIONS@$/ && form == "bash" {
	for (i = 1; i <= n_options; i++) printf "        [%s]='%s'\n", option[i], (value[i] == "" ? "-" : words_for(value[i]) "=" words_of(option_help[i]))
	next
}
/^@VERBS@$/ && form == "zsh" {
	for (i = 1; i <= n_verbs; i++) { h = help[i]; gsub(/:/, "\\:", h); printf "        '%s:%s'\n", verb[i], quote(h) }
	next
}
/^@ARGUMENTS@$/ && form == "zsh" {
	for (i = 1; i <= n_verbs; i++) printf "        %s '%s'\n", verb[i], words_for(arguments[i])
	next
}
/^@OPTIONS@$/ && form == "zsh" {
	for (i = 1; i <= n_options; i++) {
		h = quote(option_help[i]); gsub(/\[/, "(", h); gsub(/\]/, ")", h); gsub(/:/, "\\:", h)
		w = words_for(value[i])
		action = value[i] == "" ? "" : ":" tolower(value[i]) ":" (w != "" ? "_fdlctl_offer " w : words_of(option_help[i]) != "" ? "(" words_of(option_help[i]) ")" : "")
		printf "        '%s%s[%s]%s' \\\n", option[i], (value[i] == "" ? "" : "="), h, action
		if (letter[i] != "") printf "        '%s%s[%s]%s' \\\n", letter[i], (value[i] == "" ? "" : "+"), h, action
	}
	next
}
/^@VERBS@$/ && form == "fish" {
	printf "set -g __fdlctl_verbs"
	for (i = 1; i <= n_verbs; i++) printf " %s", verb[i]
	print ""
	for (i = 1; i <= n_verbs; i++) {
		printf "complete -c fdlctl -n __fdlctl_no_verb -f -a %s -d '%s'\n", verb[i], quote(help[i])
		n = split(words_for(arguments[i]), list, " ")
		for (j = 1; j <= n; j++)
			if (list[j] == "files") printf "complete -c fdlctl -n '__fdlctl_verb %s' -F\n", verb[i]
			else printf "complete -c fdlctl -n '__fdlctl_verb %s' -f -a '(__fdlctl_offer %s)'\n", verb[i], list[j]
	}
	next
}
/^@OPTIONS@$/ && form == "fish" {
	for (i = 1; i <= n_options; i++) {
		w = words_for(value[i])
		printf "complete -c fdlctl -l %s%s -d '%s'%s\n", substr(option[i], 3), (letter[i] == "" ? "" : " -s " substr(letter[i], 2)), quote(option_help[i]),
			(value[i] == "" ? "" : w == "files" ? " -r -F" : w == "" ? " -x -a '" words_of(option_help[i]) "'" : " -x -a '(__fdlctl_offer " w ")'")
	}
	next
}
{ print }
