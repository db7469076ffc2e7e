# @summary All of /etc/mailguard. Nothing here is a secret; a key is a file of its own, which settings name.
# @api private
class mailguard::config {
  $folder = '/etc/mailguard'
  $defaults = {
    'listen'    => [{ 'address' => '0.0.0.0:25' }, { 'address' => '[::]:25' }],
    'policy'    => 'policy.yaml',
    'user'      => 'mailguard',
    'spool_dir' => '/var/lib/mailguard/spool',
    'journal'   => { 'directory' => '/var/lib/mailguard/journal' },
  }

  File {
    owner => 'root',
    group => 'root',
    mode  => '0644',
  }

  file { $folder:
    ensure => directory,
    mode   => '0755',
  }

  file { ["${folder}/policy.d", "${folder}/lists"]:
    ensure  => directory,
    mode    => '0755',
    recurse => true,
    purge   => true,
  }

  $written = $defaults + $mailguard::settings
  file { "${folder}/mailguard.yaml":
    content => template('mailguard/mailguard.yaml.erb'),
  }

  if $mailguard::policy {
    file { "${folder}/policy.yaml":
      source => $mailguard::policy,
    }
  }

  $mailguard::parts.each |$name, $source| {
    file { "${folder}/policy.d/${name}":
      source => $source,
    }
  }

  $mailguard::lists.each |$name, $source| {
    file { "${folder}/lists/${name}":
      source => $source,
    }
  }
}
