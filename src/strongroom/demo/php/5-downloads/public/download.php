<?php

declare(strict_types=1);

/** GET /download.php?number=TMS-100001: the paper of one's own certificate, and of nobody else's. */

require dirname(__DIR__) . '/src/Database.php';
require dirname(__DIR__) . '/src/Visitor.php';
require dirname(__DIR__) . '/src/Certificates.php';
require dirname(__DIR__) . '/src/Uploads.php';

$visitor = new Tms\Visitor();
if ($visitor->id() === null) {
    header('Location: /login.php');
    exit;
}
$number = is_string($_GET['number'] ?? null) ? $_GET['number'] : '';
$paper = (new Tms\Certificates(new Tms\Database(), $visitor->id()))->paper($number);
$file = $paper === null ? null
    : (new Tms\Uploads())->find($paper['file_path'], (int) $paper['size_bytes'], $paper['sha256']);
if ($file === null) {
    if ($paper !== null) {
        error_log("download: the paper of $number is not the file that was stored");
    }
    http_response_code(404);
    exit('There is no such paper.');
}
header("Content-Type: {$paper['media_type']}");
header('Content-Length: ' . $paper['size_bytes']);
header('Content-Disposition: attachment; filename="' . preg_replace('/[^\w-]/', '', $number) . '.pdf"');
header('Cache-Control: no-store');
readfile($file);
