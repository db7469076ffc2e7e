"""What tests share: a recording SMTP sink, a raw SMTP client."""
