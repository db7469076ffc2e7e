# What the test of the package has Puppet apply. The backend is tests/packaging/backend.py.
class { 'mailguard':
  settings => {
    'hostname'      => 'mx.example.com',
    'relay_domains' => ['example.com'],
    'backends'      => [{ 'address' => '127.0.0.1:10025', 'client_identity' => 'none', 'relay_probe' => false }],
  },
  policy   => '/usr/share/doc/mailguard/examples/policies/observe.yaml',
}
