# @summary mailguard: the package's code, and a configuration that belongs to Puppet alone.
#
# Code and configuration are apart: the Debian package brings the one, this module writes the other, all of
# /etc/mailguard. What it did not write there it removes from policy.d and lists, and leaves alone elsewhere (keys, say).
# A changed configuration is told to the running service by `mailguard reload`, which takes it whole or not at all: one
# that is refused fails the run with mailguard's own words, and mail goes on by the old one.
#
# @param settings
#   mailguard.yaml(5), as it is written there: hostname, relay_domains and backends at the least. User, policy, spool_dir
#   and the journal's folder are the package's unless named here.
# @param policy
#   Where the policy comes from (a `source` of a file: puppet:///modules/site/policy.yaml); undef: the package's stays.
# @param parts
#   policy.d: name of each file, and its source.
# @param lists
#   lists: name of each file, and its source.
# @param ensure
#   Version of the package; `installed`, `latest` or a version.
# @param manage_service
#   Whether systemd keeps the service. false: something else does, a cluster's resource manager for one, and Puppet neither
#   starts, stops nor reloads it.
#
# @example
#   class { 'mailguard':
#     settings => {
#       'hostname'      => 'mx.example.com',
#       'relay_domains' => ['example.com'],
#       'backends'      => [{ 'address' => '127.0.0.1:10025' }],
#     },
#     policy   => 'puppet:///modules/site/mailguard/policy.yaml',
#   }
class mailguard (
  Hash[String[1], Data] $settings,
  Optional[String[1]] $policy = undef,
  Hash[Pattern[/\A[^\/]+\.yaml\z/], String[1]] $parts = {},
  Hash[Pattern[/\A[^\/]+\z/], String[1]] $lists = {},
  String[1] $ensure = 'installed',
  Boolean $manage_service = true,
) {
  contain mailguard::install
  contain mailguard::config
  Class['mailguard::install'] -> Class['mailguard::config']

  if $manage_service {
    contain mailguard::service
    Class['mailguard::config'] ~> Class['mailguard::service']
  }
}
