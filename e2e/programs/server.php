<?php
// A server in PHP: stream_select over its sockets, with a timer of its own, and a pair of sockets through which it
// talks to itself.
//
// GET / answers with a nonce and the number of requests so far, or with what is wrong. After GET /rest it does
// nothing by itself until GET /work.
$nonce = bin2hex(random_bytes(8));
$requests = 0;
$working = true;
$problem = '';
$sent = $got = 0;
[$left, $right] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
$server = stream_socket_server('tcp://127.0.0.1:8080') or exit(1);
while (true) {
	$read = [$server, $right];
	$none = null;
	if (stream_select($read, $none, $none, $working ? 0 : null, $working ? 10000 : null) === 0) {
		fwrite($left, pack('J', ++$sent));
	}
	foreach ($read as $ready) {
		if ($ready === $right) {
			$number = unpack('J', fread($right, 8))[1];
			if ($number !== ++$got) {
				$problem = "number $number came after " . ($got - 1);
			}
			continue;
		}
		$connection = stream_socket_accept($server);
		$path = explode(' ', fgets($connection))[1];
		while (($line = fgets($connection)) !== false && $line !== "\r\n");
		if ($path === '/') {
			$requests++;
		} else {
			$working = $path === '/work';
		}
		$answer = $problem ?: "$nonce $requests\n";
		fwrite($connection, "HTTP/1.0 200 OK\r\nContent-Length: " . strlen($answer) . "\r\n\r\n$answer");
		fclose($connection);
	}
}
