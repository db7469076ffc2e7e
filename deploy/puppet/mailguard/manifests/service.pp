# @summary Runs it, and tells it what has changed: by a reload, never by a restart.
# @api private
class mailguard::service {
  # First, so that a machine's first run ends with what is wrong and not with a unit that failed. A unit that stood still
  # is started below with what has just been written.
  exec { 'mailguard check':
    path        => '/usr/bin',
    refreshonly => true,
    logoutput   => on_failure,
  }

  exec { 'mailguard reload':
    path        => '/usr/bin',
    onlyif      => 'systemctl is-active --quiet mailguard.service',
    refreshonly => true,
    timeout     => 180,
    logoutput   => on_failure,
  }

  service { 'mailguard':
    ensure  => running,
    enable  => true,
    restart => '/bin/true',
  }

  Exec['mailguard check'] -> Exec['mailguard reload'] -> Service['mailguard']
}
