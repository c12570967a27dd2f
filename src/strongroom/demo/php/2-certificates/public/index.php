<?php

declare(strict_types=1);

require dirname(__DIR__) . '/src/Database.php';

session_start(['cookie_httponly' => true, 'cookie_samesite' => 'Strict']);
if (!isset($_SESSION['user_id'])) {
    header('Location: /login.php');
    exit;
}
$certificates = (new Tms\Database())->rowsAs(
    'authenticated',
    $_SESSION['user_id'],
    'SELECT number, course_code, title, issued_on, expires_on, status, file_path'
    . ' FROM public.trainee_certificates'
    . ' WHERE trainee_id IN (SELECT id FROM public.trainees WHERE user_id = auth.uid())'
    . ' ORDER BY issued_on DESC, number',
);
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
<h1>Certificates of <?= $show($_SESSION['name']) ?></h1>
<table>
    <tr><th>Number</th><th>Course</th><th>Issued</th><th>Valid until</th><th>State</th></tr>
<?php foreach ($certificates as $row): ?>
    <tr>
        <td><?= $show($row['number']) ?></td>
        <td><?= $show("{$row['course_code']} {$row['title']}") ?></td>
        <td><?= $show($row['issued_on']) ?></td>
        <td><?= $show($row['expires_on'] ?? 'no limit') ?></td>
        <td><?= $show($row['status']) ?></td>
    </tr>
<?php endforeach ?>
</table>
<?php if ($certificates === []): ?><p>There are none yet.</p><?php endif ?>
</body>
</html>
