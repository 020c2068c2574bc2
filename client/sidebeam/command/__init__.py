"""The console command `sidebeam` and the subcommands that need nothing but the client."""
