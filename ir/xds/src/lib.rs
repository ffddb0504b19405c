//! Delta xDS with our own type URLs: the wire between the controller and its data planes.
