# SPDX-License-Identifier: LGPL-2.1-or-later
# Makes polkit's file of actions from daemon/bus/actions.def. Without the annotation of the owner polkit would not answer a daemon that
# is not root.
BEGIN {
	FS = "\""
	print "<?xml version=\"1.0\" encoding=\"UTF-8\"?>"
	print "<!DOCTYPE policyconfig PUBLIC \"-//freedesktop//DTD polkit Policy Configuration 1.0//EN\""
	print " \"http://www.freedesktop.org/software/polkit/policyconfig-1.dtd\">"
	print "<policyconfig>"
	print "  <vendor>fdld</vendor>"
	print "  <icon_name>drive-removable-media-usb</icon_name>"
}
/^ACTION\(/ {
	if (NF != 13) {
		print "policy.awk: row " FNR " of actions.def has not six texts on one line" > "/dev/stderr"
		exit 1
	}
	printf "\n  <action id=\"org.fdld.fdld1.%s\">\n", $2
	printf "    <description>%s</description>\n    <message>%s</message>\n    <defaults>\n", $10, $12
	printf "      <allow_any>%s</allow_any>\n      <allow_inactive>%s</allow_inactive>\n      <allow_active>%s</allow_active>\n", $4, $6, $8
	print "    </defaults>"
	print "    <annotate key=\"org.freedesktop.policykit.owner\">unix-user:" user "</annotate>"
	if ($2 == "flash-critical")
		print "    <annotate key=\"org.freedesktop.policykit.imply\">org.fdld.fdld1.flash</annotate>"
	print "  </action>"
}
END {
	print "\n</policyconfig>"
}
