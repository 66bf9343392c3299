# A server in Perl: a loop of alarms, whose handler counts, and children that it reaps.
#
# GET / answers with a nonce and the number of requests so far, or with what is wrong: alarms that have ceased.
# After GET /rest there are none until GET /work.
use strict;
use warnings;
use IO::Socket::INET;
use Time::HiRes qw(ualarm time);

open my $random, '<', '/dev/urandom' or die;
read $random, my $bytes, 8;
my ($nonce, $requests, $alarms, $heard, $working) = (unpack('H16', $bytes), 0, 0, 0, 1);

$SIG{ALRM} = sub { $alarms++; ualarm 20_000 if $working };
$SIG{CHLD} = 'IGNORE';
ualarm 20_000;

my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 8080, Listen => 16, ReuseAddr => 1) or die "listen: $!";
while (1) {
	my $connection = $server->accept or next; # the alarms interrupt it
	my ($path) = (<$connection> // '') =~ /^GET (\S+)/;
	while (defined(my $line = <$connection>)) { last if $line eq "\r\n" }
	$path //= '';
	$requests++ if $path eq '/';
	$working = 0 if $path eq '/rest';
	if ($path eq '/work') { $working = 1; ualarm 20_000 }
	my $answer = "$nonce $requests\n";
	if ($path eq '/' && $working) {
		my ($before, $until) = ($alarms, time + 10);
		select undef, undef, undef, 0.005 while $alarms == $before && time < $until;
		$answer = "no alarm in 10 s, after $alarms\n" if $alarms == $before;
	}
	# A child answers.
	my $child = fork // die "fork: $!";
	if (!$child) {
		print $connection "HTTP/1.0 200 OK\r\nContent-Length: " . length($answer) . "\r\n\r\n$answer";
		exit;
	}
	close $connection;
}
