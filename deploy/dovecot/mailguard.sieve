# mailguard before Exim and Dovecot: files what mailguard says to file. docs/backends/dovecot.md says where this goes.
#
# It runs before the user's own script (sieve_before). What it files, that script does not see; all else it does.
# The header cannot be forged: mailguard removes any that a client sends, and Exim removes it from mail that came in by
# another way than mailguard's port (exim-transports.conf). A folder that does not exist is the inbox.

require ["variables", "fileinto", "mailbox", "environment", "vnd.dovecot.environment"];

# "Junk", or by the recipient's profile "strict=Junk; normal=-", where "-" is the inbox.
if header :matches "X-Mailguard-Folder" "*" {
  set "folder" "${1}";
}
if string :matches "${folder}" "*=*" {
  if environment :matches "vnd.dovecot.config.mailguard_profile" "*" {
    set "profile" "${1}";
  }
  # The question mark is a blank, or a tab where the line was folded.
  if string :matches "; ${folder};" "*;?${profile}=*;*" {
    set "folder" "${3}";
  } else {
    set "folder" "-";
  }
}

if allof (not string "${folder}" ["", "-"], mailboxexists "${folder}") {
  fileinto "${folder}";
  stop;
}
