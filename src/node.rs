//! The translator node: what it hears, serves and publishes, whatever the middleware.
