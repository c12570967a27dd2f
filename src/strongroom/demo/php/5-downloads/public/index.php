<?php

declare(strict_types=1);

require dirname(__DIR__) . '/src/Database.php';
require dirname(__DIR__) . '/src/Visitor.php';
require dirname(__DIR__) . '/src/Certificates.php';

// What the page shows comes from the view trainee_certificates.
$visitor = new Tms\Visitor();
if ($visitor->id() === null) {
    header('Location: /login.php');
    exit;
}
$certificates = (new Tms\Certificates(new Tms\Database(), $visitor->id()))->all();
$show = static fn (?string $text): string => htmlspecialchars($text ?? '', ENT_QUOTES);
?>
<!doctype html>
<html lang="en">
<head>
    <meta charset="utf-8">
    <title>My certificates</title>
    <link rel="stylesheet" href="/assets/css/app.css">
</head>
<body>
<h1>Certificates of <?= $show($visitor->name()) ?></h1>
<table>
    <tr><th>Number</th><th>Course</th><th>Issued</th><th>Valid until</th><th>State</th><th>Paper</th></tr>
<?php foreach ($certificates as $row): ?>
    <tr>
        <td><?= $show($row['number']) ?></td>
        <td><?= $show("{$row['course_code']} {$row['title']}") ?></td>
        <td><?= $show($row['issued_on']) ?></td>
        <td><?= $show($row['expires_on'] ?? 'no limit') ?></td>
        <td><?= $show($row['status']) ?></td>
        <td><?php if ($row['sha256'] !== null): ?><a href="/download.php?number=<?= rawurlencode($row['number']) ?>">PDF</a><?php endif ?></td>
    </tr>
<?php endforeach ?>
</table>
<?php if ($certificates === []): ?><p>There are none yet.</p><?php endif ?>
</body>
</html>
