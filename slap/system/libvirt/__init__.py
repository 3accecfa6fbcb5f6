"""Virtual machines by libvirt, in the process that asks: no daemon of libvirt's runs, and none is needed."""
