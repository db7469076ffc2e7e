# @summary The Debian package, from whichever archive the machine has it. Files of /etc/mailguard that are not the
#   package's any more stay as they are when it is upgraded.
# @api private
class mailguard::install {
  package { 'mailguard':
    ensure          => $mailguard::ensure,
    install_options => ['-o', 'Dpkg::Options::=--force-confold'],
  }
}
